//! Which page is found, how it is told, and that it is the one that is served.

use std::path::PathBuf;

use crate::program::{Folder, get};

/// Starts in a folder: the lines before the URL, and the page.
fn found(folder: Folder, args: &[&str]) -> (Vec<String>, String) {
    let program = folder.serve(args);
    let (mut told, address) = program.banner();
    assert_eq!(told.remove(0), "Run");
    told.truncate(told.len() - 2);
    let (status, page) = get(&address, "/any/path");
    assert_eq!(status, "HTTP/1.1 200 OK");
    (told, page)
}

/// A path as the platform writes it.
fn native(path: &str) -> String {
    path.split('/').collect::<PathBuf>().display().to_string()
}

#[test]
fn the_folder_of_templates_comes_first() {
    let page = "<!doctype html>é";
    let folder = Folder::new().with("templates/index.html", page).with("index.html", "other");
    let (told, served) = found(folder, &[]);
    let discovering = format!("Discovering: {}", native("./templates/index.html"));
    assert_eq!(told, [discovering, format!("Template Set. Length: {}", page.len())]);
    assert_eq!(served, page);
}

#[test]
fn then_comes_the_page_of_the_folder_itself() {
    let (told, served) = found(Folder::new().with("index.html", "here"), &[]);
    let discovering = format!("Discovering: {}", native("./index.html"));
    assert_eq!(told, [discovering, "Template Set. Length: 4".to_owned()]);
    assert_eq!(served, "here");
}

#[test]
fn else_there_is_the_built_in_page() {
    let (told, served) = found(Folder::new(), &[]);
    assert_eq!(told, ["Template: built-in page"]);
    assert!(served.to_lowercase().contains("<!doctype html>"), "{served}");
}

#[test]
fn a_given_file_comes_before_all() {
    let folder = Folder::new().with("index.html", "other").with("pages/chat.html", "chat");
    let (told, served) = found(folder, &["--template=pages/chat.html"]);
    assert_eq!(told, ["Template: pages/chat.html", "Template Set. Length: 4"]);
    assert_eq!(served, "chat");
}

#[test]
fn a_file_that_is_missing_is_one_line_and_exit_code_1() {
    // A page lies there, but it is not the one that was asked for.
    let folder = Folder::new().with("index.html", "other");
    let output = folder.output(&["--run", "--port", "0", "--template", "missing.html"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"Run\n");
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.starts_with("pocketsocket: template 'missing.html' cannot be read: "), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn a_folder_is_no_page() {
    let folder = Folder::new().with("pages/index.html", "");
    let output = folder.output(&["--run", "--port", "0", "--template", "pages"]);
    assert_eq!(output.status.code(), Some(1));
}
