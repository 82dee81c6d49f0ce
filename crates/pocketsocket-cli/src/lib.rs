//! The `pocketsocket` program, as a library.
//!
//! Two executables are this program: the bare one of this crate, and npm's bin, which calls [`start`] inside of a Node
//! addon. They differ in who catches signals, so the library catches none: it starts a server, hands back a [`Running`],
//! and whoever catches a signal calls [`Running::begin_stop`].
//!
//! Parsing is `args`, finding the page is `template`, the wording of the start-up time is `ttl`. What is written once the
//! server runs goes through `console`, so that a paused terminal stops neither sockets nor signals.

#![forbid(unsafe_code)]

mod args;
mod console;
mod running;
mod template;
mod ttl;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    sync::Arc,
    time::Instant,
};

use pocketsocket::{Config, Error, Server};

use crate::{
    args::{Command, Options, Usage},
    console::{Console, one_line},
    running::Terminal,
    template::Found,
};

pub use running::Running;

/// For `fuzz/`: reads arguments, and checks what they come to.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn fuzz_arguments(args: Vec<OsString>) {
    match args::parse(args) {
        Ok(Command::Run(options)) => {
            let config = Config {
                port: options.port.unwrap_or(0),
                address: options.address.unwrap_or_default(),
                ..Config::default()
            };
            let _ = config.validate();
        }
        Ok(_) | Err(Usage::NothingToDo) => {}
        Err(Usage::Wrong(error)) => {
            let line = one_line(&error);
            // A line of the program's stays one, whatever was typed.
            assert!(line.ends_with('\n') && line.lines().count() == 1, "{line:?}");
        }
    }
}

/// Exit codes, as `--help` lists them.
pub mod exit {
    /// Stopped as asked, or nothing but text was asked for.
    pub const SUCCESS: u8 = 0;
    /// The server could not start, or ended by itself.
    pub const FAILURE: u8 = 1;
    /// The arguments are wrong.
    pub const USAGE: u8 = 2;
    /// Ended at once by a second signal: 128 and the number of SIGINT, as shells report it.
    pub const INTERRUPTED: u8 = 130;
}

const HELP: &str = include_str!("help.txt");
const USAGE: &str = "\
usage: pocketsocket --run [--broadcast] [--print] [--address A] [--port P]
                    [--unix FILE] [--reuse-port] [--template FILE]
                    [--broker URL]
       pocketsocket --help | --version | --completions SHELL
";

/// What [`start`] came to.
#[derive(Debug)]
pub enum Started {
    /// There is nothing to wait for: the process should end with this exit code.
    Finished(u8),
    /// A server runs.
    Running(Running),
}

/// Runs the program with `args`, without the program's own name, until its server accepts or it has failed.
///
/// `started` is when the process started: TTL counts from there. What is told until this returns goes to `out` and
/// `err`; later lines, which a paused reader must not hold up, go to the process's own standard streams. Where writing
/// fails the server runs all the same: `pocketsocket --run | head -1` is no reason to stop serving.
///
/// Open files and the log are the process's, so they are the caller's: see [`pocketsocket::raise_open_file_limit`], to be
/// called before this, and [`pocketsocket::init_logging`].
///
/// ```
/// use std::time::Instant;
/// use pocketsocket_cli::{Started, start};
///
/// let (mut out, mut err) = (Vec::new(), Vec::new());
/// let args = ["--run", "--port=0"].map(Into::into);
/// let Started::Running(running) = start(args, Instant::now(), &mut out, &mut err) else {
///     panic!("{}", String::from_utf8_lossy(&err));
/// };
/// assert!(String::from_utf8_lossy(&out).contains(&running.url()));
/// running.begin_stop();
/// assert_eq!(running.wait(), 0);
/// ```
pub fn start(
    args: impl IntoIterator<Item = OsString>,
    started: Instant,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Started {
    // The reader of what we write may be gone: that is its business, see above.
    let outcome = match args::parse(args.into_iter().collect()) {
        Ok(Command::Help) => {
            let _ = out.write_all(HELP.as_bytes());
            Started::Finished(exit::SUCCESS)
        }
        Ok(Command::Version) => {
            let _ = writeln!(out, "pocketsocket {}", env!("CARGO_PKG_VERSION"));
            Started::Finished(exit::SUCCESS)
        }
        Ok(Command::Completions(script)) => {
            let _ = out.write_all(script.as_bytes());
            Started::Finished(exit::SUCCESS)
        }
        Ok(Command::Run(options)) => match run(options, started, out) {
            Ok(running) => Started::Running(running),
            Err(error) => {
                let _ = err.write_all(one_line(&error).as_bytes());
                Started::Finished(exit::FAILURE)
            }
        },
        Err(Usage::NothingToDo) => {
            let _ = write!(err, "pocketsocket: --run starts the server\n{USAGE}");
            Started::Finished(exit::USAGE)
        }
        Err(Usage::Wrong(error)) => {
            let line = one_line(&format_args!("{error} (see 'pocketsocket --help')"));
            let _ = err.write_all(line.as_bytes());
            Started::Finished(exit::USAGE)
        }
    };
    let _ = out.flush();
    let _ = err.flush();
    outcome
}

/// Finds the page, starts the server and tells of both.
fn run(options: Options, started: Instant, out: &mut dyn Write) -> Result<Running, Error> {
    let _ = writeln!(out, "Run");
    let found = template::find(options.template)?;
    // Unset and empty are the same to whoever writes a unit file.
    let from_environment = || env::var("POCKETSOCKET_BROKER").ok().filter(|url| !url.is_empty());
    let broker = options.broker.or_else(from_environment);
    let _ = announce(&found, out);
    let defaults = Config::default();
    let config = Config {
        address: options.address.unwrap_or(defaults.address),
        port: options.port.unwrap_or(defaults.port),
        unix: options.unix,
        reuse_port: options.reuse_port,
        template: found.into_template(),
        broadcast: options.broadcast,
        print: options.print,
        broker: broker.map(|url| url.parse()).transpose()?,
        ..defaults
    };
    let console = Arc::new(Console::default());
    let server = Server::start(config, Terminal::new(Arc::clone(&console)))?;
    // The port is bound, so clients are accepted from here on: writing about it is not part of the time.
    let ttl = started.elapsed();
    let running = Running::new(server, console);
    let _ = writeln!(out, "Serving on {}\nTTL: {}", running.url(), ttl::words(ttl));
    Ok(running)
}

fn announce(found: &Found, out: &mut dyn Write) -> io::Result<()> {
    match found {
        Found::BuiltIn => writeln!(out, "Template: built-in page"),
        Found::Discovered { path, html } => {
            writeln!(out, "Discovering: {}\nTemplate Set. Length: {}", path.display(), html.len())
        }
        Found::Given { path, html } => {
            writeln!(out, "Template: {}\nTemplate Set. Length: {}", path.display(), html.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(args: &[&str]) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        match start(args.iter().map(Into::into), Instant::now(), &mut out, &mut err) {
            Started::Finished(code) => {
                (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
            }
            Started::Running(running) => panic!("{running:?} was not to start"),
        }
    }

    #[test]
    fn help_has_the_usage_and_fits_a_terminal() {
        let (code, out, err) = finish(&["--help"]);
        assert_eq!((code, err.as_str()), (exit::SUCCESS, ""));
        assert!(out.lines().all(|line| line.len() < 80));
        // The same words, however each of the two is indented.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&out).contains(words(USAGE).trim_start_matches("usage: ")));
    }

    #[test]
    fn without_run_the_usage_says_what_starts_the_server() {
        for args in [&[][..], &["--port", "80"]] {
            let (code, out, err) = finish(args);
            assert_eq!((code, out.as_str()), (exit::USAGE, ""));
            assert_eq!(err, format!("pocketsocket: --run starts the server\n{USAGE}"));
        }
    }

    #[test]
    fn an_error_stays_on_its_line() {
        let (code, _, err) = finish(&["--run", "--template", "no\nsuch\x1b[2J.html"]);
        assert_eq!(code, exit::FAILURE);
        assert!(err.starts_with(r"pocketsocket: template 'no\nsuch\u{1b}[2J.html'"), "{err}");
        assert_eq!(err.matches(char::is_control).collect::<Vec<_>>(), ["\n"]);
    }

    #[test]
    fn a_writer_that_fails_stops_nothing() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let started = start(["--version".into()], Instant::now(), &mut Closed, &mut Closed);
        assert!(matches!(started, Started::Finished(exit::SUCCESS)));
    }
}
