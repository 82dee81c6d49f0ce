//! The command line: a load's name, and options of which each load takes the ones that it knows.

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt::Display,
    net::{SocketAddr, ToSocketAddrs},
    str::FromStr,
    time::Duration,
};

use lexopt::{Arg, Parser, ValueExt as _};

use crate::Failure;

/// Options without a value.
const FLAGS: [&str; 3] = ["binary", "broadcast", "json"];

/// The options that no one has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Args {
    given: HashMap<String, String>,
}

impl Args {
    /// Reads the arguments, without the program's own name. `None` asks for help.
    pub(crate) fn parse(
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<Option<(String, Self)>, Failure> {
        let mut parser = Parser::from_args(args);
        let mut name = None;
        let mut given = HashMap::new();
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Long(option) => {
                    let option = option.to_owned();
                    let value = if FLAGS.contains(&option.as_str()) {
                        String::new()
                    } else {
                        parser.value()?.string()?
                    };
                    given.insert(option, value);
                }
                Arg::Value(value) if name.is_none() => name = Some(value.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(name.map(|name| (name, Self { given })))
    }

    /// Takes a flag.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        self.given.remove(name).is_some()
    }

    /// Takes an option, if it was given.
    pub(crate) fn optional<T>(&mut self, name: &str) -> Result<Option<T>, Failure>
    where
        T: FromStr<Err: Display>,
    {
        let Some(value) = self.given.remove(name) else { return Ok(None) };
        let parsed = value.parse().map_err(|error| format!("--{name} '{value}': {error}"))?;
        Ok(Some(parsed))
    }

    /// Takes an option, or its default.
    pub(crate) fn or<T>(&mut self, name: &str, default: T) -> Result<T, Failure>
    where
        T: FromStr<Err: Display>,
    {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    /// Takes a count of which there has to be at least one.
    pub(crate) fn count(&mut self, name: &str, default: usize) -> Result<usize, Failure> {
        match self.or(name, default)? {
            0 => Err(format!("--{name} 0: at least 1 is needed").into()),
            count => Ok(count),
        }
    }

    /// Takes a time in seconds, with fractions.
    pub(crate) fn seconds(&mut self, name: &str, default: f64) -> Result<Duration, Failure> {
        let seconds = self.or(name, default)?;
        Duration::try_from_secs_f64(seconds)
            .map_err(|error| format!("--{name} {seconds}: {error}").into())
    }

    /// Takes the server's address.
    pub(crate) fn url(&mut self) -> Result<SocketAddr, Failure> {
        let url: String = self.optional("url")?.ok_or("--url ws://127.0.0.1:PORT/ is needed")?;
        address_of(&url)
    }

    /// The end: what is left, no one knows.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.given.keys().min() {
            Some(name) => Err(format!("this load has no option --{name}: see --help").into()),
            None => Ok(()),
        }
    }
}

/// The address in a URL, which has to be one of this machine: loads go nowhere else.
pub(crate) fn address_of(url: &str) -> Result<SocketAddr, Failure> {
    let rest = url.strip_prefix("ws://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
    let host = rest.split('/').next().unwrap_or(rest);
    let address = host
        .to_socket_addrs()
        .map_err(|error| format!("--url '{url}': {error}"))?
        .find(|address| address.ip().is_loopback())
        .ok_or_else(|| format!("--url '{url}' is not on a loopback address"))?;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> (String, Args) {
        Args::parse(line.split(' ').map(OsString::from)).unwrap().unwrap()
    }

    #[test]
    fn options_are_taken_by_name_and_what_is_left_is_refused() {
        let (name, mut args) = parse("echo --sockets 3 --binary --url ws://127.0.0.1:81/");
        assert_eq!(name, "echo");
        assert_eq!(args.count("sockets", 1).unwrap(), 3);
        assert!(args.flag("binary"));
        assert!(!args.flag("json"));
        let error = args.finish().unwrap_err().to_string();
        assert_eq!(error, "this load has no option --url: see --help");
    }

    #[test]
    fn a_value_that_is_none_is_named() {
        let (_, mut args) = parse("echo --sockets many --seconds -1");
        assert!(args.count("sockets", 1).unwrap_err().to_string().starts_with("--sockets 'many'"));
        assert!(args.seconds("seconds", 1.0).unwrap_err().to_string().starts_with("--seconds -1"));
    }

    #[test]
    fn only_loopback_addresses_are_loaded() {
        assert_eq!(address_of("ws://127.0.0.1:81/x").unwrap().port(), 81);
        assert_eq!(address_of("http://[::1]:82").unwrap().port(), 82);
        assert!(address_of("ws://192.0.2.1:80/").is_err());
        assert!(address_of("ws://127.0.0.1/").is_err());
    }
}
