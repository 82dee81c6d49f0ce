//! What ends without a server: texts, and errors with their exit codes.

use std::{net::TcpListener, process::Output};

use crate::program::Folder;

/// The one line on standard error.
#[track_caller]
fn only_error(output: &Output, code: i32) -> String {
    let err = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    err.strip_prefix("pocketsocket: ").expect("the program's name").trim_end().to_owned()
}

#[test]
fn help_and_version_are_told_on_standard_output() {
    let folder = Folder::new();
    let help = folder.output(&["--help"]);
    assert_eq!((help.status.code(), help.stderr.as_slice()), (Some(0), &b""[..]));
    assert!(help.stdout.starts_with(b"NAME\n    pocketsocket - "));
    let version = folder.output(&["--version"]);
    assert_eq!((version.status.code(), version.stderr.as_slice()), (Some(0), &b""[..]));
    let expected = format!("pocketsocket {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(version.stdout).unwrap(), expected);
}

#[test]
fn without_run_nothing_starts() {
    let output = Folder::new().output(&[]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.starts_with("pocketsocket: --run starts the server\nusage: "), "{err}");
}

#[test]
fn wrong_arguments_are_one_line_and_exit_code_2() {
    let folder = Folder::new();
    for (args, expected) in [
        (["--run", "--verbose"], "invalid option '--verbose'"),
        (["--run", "--port=x"], "port 'x' is not a number from 0 to 65535"),
        (["--run", "--port=99999"], "port '99999' is not a number from 0 to 65535"),
        (["--run", "--address"], "missing argument for option '--address'"),
    ] {
        let error = only_error(&folder.output(&args), 2);
        assert_eq!(error, format!("{expected} (see 'pocketsocket --help')"));
    }
}

#[test]
fn a_taken_port_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = Folder::new().output(&["--run", "--port", &address.port().to_string()]);
    let error = only_error(&output, 1);
    assert!(error.starts_with(&format!("{address} is taken")), "{error}");
}

#[test]
fn an_address_that_is_none_is_one_line_and_exit_code_1() {
    let output = Folder::new().output(&["--run", "--address", "not an address"]);
    let error = only_error(&output, 1);
    assert!(error.starts_with("address 'not an address' is not"), "{error}");
}
