//! Finds the page that browsers get.
//!
//! The file is read here and given to the server as text: the length that is told is that of the page that is served, and
//! a file that goes away between the finding and the reading is never half found.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pocketsocket::{Error, Template};

/// Where a page is looked for, from the current directory. The first that exists is taken.
const PLACES: [&[&str]; 2] = [&[".", "templates", "index.html"], &[".", "index.html"]];

/// The page, and how it came to be the one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No file is where one is looked for.
    BuiltIn,
    /// A file is.
    Discovered { path: PathBuf, html: String },
    /// The user named a file.
    Given { path: PathBuf, html: String },
}

impl Found {
    pub(crate) fn into_template(self) -> Template {
        match self {
            Self::BuiltIn => Template::BuiltIn,
            Self::Discovered { html, .. } | Self::Given { html, .. } => Template::Html(html),
        }
    }
}

/// Reads the file that was given, else the first that is found.
///
/// A file that exists and cannot be read is an error, not a reason to look further: serving another page than the one
/// that lies there would puzzle its author.
pub(crate) fn find(given: Option<PathBuf>) -> Result<Found, Error> {
    find_in(Path::new(""), given)
}

/// [`find`] from another directory than the current one, which tests cannot change: it is the process's.
fn find_in(directory: &Path, given: Option<PathBuf>) -> Result<Found, Error> {
    if let Some(path) = given {
        return match fs::read_to_string(directory.join(&path)) {
            Ok(html) => Ok(Found::Given { path, html }),
            Err(source) => Err(Error::Template { path, source }),
        };
    }
    for place in PLACES {
        let path: PathBuf = place.iter().collect();
        match fs::read_to_string(directory.join(&path)) {
            Ok(html) => return Ok(Found::Discovered { path, html }),
            // The second is a file that is called `templates`.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(source) => return Err(Error::Template { path, source }),
        }
    }
    Ok(Found::BuiltIn)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is gone after the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir()
                .join(format!("pocketsocket-template-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_called_templates_is_no_folder_to_look_into() {
        let folder = Folder::new("file");
        fs::write(folder.0.join("templates"), "").unwrap();
        assert_eq!(find_in(&folder.0, None).unwrap(), Found::BuiltIn);
    }

    #[test]
    fn a_page_that_is_there_and_no_text_is_an_error() {
        let folder = Folder::new("bytes");
        fs::write(folder.0.join("index.html"), [0xff, 0xfe]).unwrap();
        let error = find_in(&folder.0, None).unwrap_err();
        assert_eq!(error.code(), "ERR_TEMPLATE");
        assert!(error.to_string().contains("index.html"), "{error}");
    }

    #[test]
    fn a_page_that_is_a_folder_is_an_error() {
        let folder = Folder::new("folder");
        fs::create_dir(folder.0.join("index.html")).unwrap();
        assert_eq!(find_in(&folder.0, None).unwrap_err().code(), "ERR_TEMPLATE");
    }

    #[test]
    fn a_given_file_is_told_as_it_was_given() {
        let folder = Folder::new("given");
        fs::write(folder.0.join("chat.html"), "chat").unwrap();
        let found = find_in(&folder.0, Some("chat.html".into())).unwrap();
        assert_eq!(found, Found::Given { path: "chat.html".into(), html: "chat".into() });
    }
}
