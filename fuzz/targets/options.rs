//! Command lines, option values, origins and uuids.
#![no_main]
use std::ffi::OsString;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    pocketsocket::fuzzing::options(data);
    // Arguments hold no NUL, so it ends them.
    let text = String::from_utf8_lossy(data);
    pocketsocket_cli::fuzz_arguments(text.split('\0').map(OsString::from).collect());
});
