//! The command line: what was asked for, or what is wrong with it.

use std::{ffi::OsString, path::PathBuf};

use lexopt::{Arg, Error, Parser, ValueExt as _};

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Version,
    /// The text that teaches a shell the options.
    Completions(&'static str),
    Run(Options),
}

/// Settings of a server as given: `None` leaves the default to the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) broadcast: bool,
    pub(crate) print: bool,
    pub(crate) address: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) unix: Option<PathBuf>,
    pub(crate) reuse_port: bool,
    pub(crate) template: Option<PathBuf>,
    pub(crate) broker: Option<String>,
}

/// Why arguments do not make a command.
#[derive(Debug)]
pub(crate) enum Usage {
    /// Nothing is wrong, but nothing says to run.
    NothingToDo,
    /// An argument is wrong.
    Wrong(Error),
}

impl From<Error> for Usage {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

/// Reads the arguments, without the program's own name.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Command, Usage> {
    let mut parser = Parser::from_args(args);
    let mut run = false;
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Version),
            Arg::Long("completions") => {
                return completions(&parser.value()?.string()?).map(Command::Completions);
            }
            Arg::Long("run") => run = true,
            Arg::Long("broadcast") => options.broadcast = true,
            Arg::Long("print") => options.print = true,
            Arg::Long("address") => options.address = Some(parser.value()?.string()?),
            Arg::Long("port") => options.port = Some(port(&parser.value()?.string()?)?),
            Arg::Long("unix") => options.unix = Some(parser.value()?.into()),
            Arg::Long("reuse-port") => options.reuse_port = true,
            Arg::Long("broker") => options.broker = Some(parser.value()?.string()?),
            Arg::Long("template") => options.template = Some(parser.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    if run { Ok(Command::Run(options)) } else { Err(Usage::NothingToDo) }
}

fn completions(shell: &str) -> Result<&'static str, Usage> {
    match shell {
        "bash" => Ok(include_str!("completions/pocketsocket.bash")),
        "zsh" => Ok(include_str!("completions/pocketsocket.zsh")),
        "fish" => Ok(include_str!("completions/pocketsocket.fish")),
        _ => {
            Err(Error::from(format!("completions '{shell}': there are bash, zsh and fish")).into())
        }
    }
}

fn port(value: &str) -> Result<u16, Error> {
    value.parse().map_err(|_| format!("port '{value}' is not a number from 0 to 65535").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Command, Usage> {
        super::parse(args.iter().map(Into::into).collect())
    }

    fn wrong(args: &[&str]) -> String {
        match parse(args) {
            Err(Usage::Wrong(error)) => error.to_string(),
            other => panic!("{args:?} came to {other:?}"),
        }
    }

    #[test]
    fn every_option_is_read_with_a_space_or_an_equals_sign() {
        let all = Options {
            broadcast: true,
            print: true,
            address: Some("::1".into()),
            port: Some(81),
            unix: Some("a.sock".into()),
            reuse_port: true,
            template: Some("a.html".into()),
            broker: Some("nats://h".into()),
        };
        let spaced = "--run --broadcast --print --address ::1 --port 81 --unix a.sock --reuse-port --template a.html --broker nats://h";
        let joined = "--broker=nats://h --template=a.html --reuse-port --unix=a.sock --port=81 --address=::1 --print --broadcast --run";
        for line in [spaced, joined] {
            let args: Vec<_> = line.split(' ').collect();
            assert_eq!(parse(&args).unwrap(), Command::Run(all.clone()));
        }
    }

    #[test]
    fn run_alone_leaves_all_to_the_defaults() {
        assert_eq!(parse(&["--run"]).unwrap(), Command::Run(Options::default()));
    }

    #[test]
    fn the_last_of_an_option_given_twice_counts() {
        let Command::Run(options) = parse(&["--run", "--port", "1", "--port", "2"]).unwrap() else {
            panic!("no run");
        };
        assert_eq!(options.port, Some(2));
    }

    #[test]
    fn help_and_version_need_no_run() {
        for args in [["--help"], ["-h"]] {
            assert_eq!(parse(&args).unwrap(), Command::Help);
        }
        for args in [["--version"], ["-V"]] {
            assert_eq!(parse(&args).unwrap(), Command::Version);
        }
    }

    #[test]
    fn completions_know_every_option_of_the_help() {
        let help = include_str!("help.txt");
        let options: Vec<_> = help
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .filter(|line| line.starts_with('-') && !line.contains('='))
            .flat_map(|line| line.split([' ', ',']))
            .filter_map(|word| word.strip_prefix("--"))
            .collect();
        assert!(options.len() > 7, "{options:?}");
        for shell in ["bash", "zsh", "fish"] {
            let Command::Completions(script) = parse(&["--completions", shell]).unwrap() else {
                panic!("no script");
            };
            for option in &options {
                assert!(script.contains(option), "{shell} does not know {option}");
            }
        }
        assert_eq!(
            wrong(&["--completions", "sh"]),
            "completions 'sh': there are bash, zsh and fish"
        );
    }

    #[test]
    fn without_run_there_is_nothing_to_do() {
        assert!(matches!(parse(&[]), Err(Usage::NothingToDo)));
        assert!(matches!(parse(&["--print"]), Err(Usage::NothingToDo)));
    }

    #[test]
    fn a_port_is_a_number_that_tcp_has() {
        for port in ["65536", "-1", "http", "", "80 "] {
            assert_eq!(
                wrong(&["--run", &format!("--port={port}")]),
                format!("port '{port}' is not a number from 0 to 65535")
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(wrong(&["--run", "--brodcast"]), "invalid option '--brodcast'");
        assert_eq!(wrong(&["run"]), "unexpected argument \"run\"");
        assert_eq!(wrong(&["--port"]), "missing argument for option '--port'");
        assert_eq!(wrong(&["--run=yes"]), "unexpected argument for option '--run': \"yes\"");
    }
}
