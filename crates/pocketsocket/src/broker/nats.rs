//! NATS: a client of our own for its core protocol, since `async-nats` brings TLS and 1.7 MB of it into the addon.
//!
//! Source: <https://docs.nats.io/reference/reference-protocols/nats-protocol>. One connection: `listen` and `publish` append to
//! one buffer, [`Client::drive`] writes it and reads what comes.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt::Write as _,
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
};

use super::{BrokerUrl, inbound::Inlet, run::Refused};
use crate::limits::{BROKER_BATCH_BYTES, BROKER_QUEUE};

/// The longest line that a server may send: its INFO lists the other servers of a cluster.
const MAX_LINE: usize = 64 * 1024;
/// What we answer and ask beside messages may wait up to this: a server that only pings and never reads is given up.
const MAX_WAITING: usize = 16 << 20;

/// What the server said.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Info(String),
    Message(Bytes),
    Ping,
    Pong,
    Ok,
    Error(String),
}

/// A connection.
pub(super) struct Client {
    stream: RefCell<Option<(TcpStream, BytesMut)>>,
    max_payload: usize,
    out: RefCell<Vec<u8>>,
    /// Something is to be written.
    wake: Notify,
    /// All that was to be written has been.
    room: Notify,
    asked: Cell<u64>,
    answered: Cell<u64>,
    pong: Notify,
    /// Numbers of subscriptions, by subject.
    numbers: RefCell<HashMap<String, u64>>,
    next: Cell<u64>,
}

impl Client {
    /// Connects and authenticates. The caller limits the time.
    pub(super) async fn connect(url: &BrokerUrl, inlet: &Inlet) -> Result<Self, Refused> {
        let mut stream =
            TcpStream::connect((url.host.as_str(), url.port)).await.map_err(Refused::new)?;
        stream.set_nodelay(true).map_err(Refused::new)?;
        let mut input = BytesMut::new();
        let info = match next(&mut stream, &mut input).await? {
            Told::Info(info) => info,
            Told::Error(error) => return Err(Refused::new(error)),
            _ => return Err(Refused::finally("it is no NATS server: it did not begin with INFO")),
        };
        if flag(&info, "tls_required") {
            return Err(Refused::finally("it wants TLS, which this build has not"));
        }
        let max_payload = number(&info, "max_payload").unwrap_or(1 << 20).min(BROKER_QUEUE);
        stream.write_all(hello(url).as_bytes()).await.map_err(Refused::new)?;
        loop {
            match next(&mut stream, &mut input).await? {
                Told::Pong => break,
                // It says why, and ends the connection.
                Told::Error(error) if error.to_ascii_lowercase().contains("authoriz") => {
                    return Err(Refused::finally("it refuses the user, the password or the token"));
                }
                Told::Error(error) => return Err(Refused::new(error)),
                Told::Info(_) | Told::Message(_) | Told::Ping | Told::Ok => {}
            }
        }
        let _ = inlet;
        Ok(Self::new(Some((stream, input)), max_payload))
    }

    fn new(stream: Option<(TcpStream, BytesMut)>, max_payload: usize) -> Self {
        Self {
            stream: RefCell::new(stream),
            max_payload,
            out: RefCell::default(),
            wake: Notify::new(),
            room: Notify::new(),
            asked: Cell::new(0),
            answered: Cell::new(0),
            pong: Notify::new(),
            numbers: RefCell::default(),
            next: Cell::new(1),
        }
    }

    pub(super) fn max_payload(&self) -> usize {
        self.max_payload
    }

    /// Waits until little is to be written.
    async fn has_room(&self) {
        while self.out.borrow().len() > BROKER_BATCH_BYTES {
            self.room.notified().await;
        }
    }

    pub(super) async fn listen(&self, channels: &[String], wanted: bool) -> Result<(), Refused> {
        self.has_room().await;
        let mut numbers = self.numbers.borrow_mut();
        let mut lines = String::new();
        for channel in channels {
            // Writing to a string cannot fail.
            if wanted {
                // A topic that went and came again since the last time is there still: a second subscription would bring
                // each message twice.
                if numbers.contains_key(channel) {
                    continue;
                }
                let number = self.next.replace(self.next.get() + 1);
                let _ = write!(lines, "SUB {channel} {number}\r\n");
                numbers.insert(channel.clone(), number);
            } else if let Some(number) = numbers.remove(channel) {
                let _ = write!(lines, "UNSUB {number}\r\n");
            }
        }
        self.append(lines.as_bytes())
    }

    pub(super) async fn publish(&self, messages: &[(String, Bytes)]) -> Result<(), Refused> {
        self.has_room().await;
        let mut out = self.out.borrow_mut();
        for (subject, message) in messages {
            out.extend_from_slice(format!("PUB {subject} {}\r\n", message.len()).as_bytes());
            out.extend_from_slice(message);
            out.extend_from_slice(b"\r\n");
        }
        self.wake.notify_one();
        Ok(())
    }

    pub(super) async fn ping(&self) -> Result<(), Refused> {
        let number = self.asked.get() + 1;
        self.asked.set(number);
        self.append(b"PING\r\n")?;
        while self.answered.get() < number {
            self.pong.notified().await;
        }
        // Several may wait.
        self.pong.notify_one();
        Ok(())
    }

    fn append(&self, bytes: &[u8]) -> Result<(), Refused> {
        let mut out = self.out.borrow_mut();
        if out.len() > MAX_WAITING + BROKER_QUEUE {
            return Err(Refused::new("it does not read"));
        }
        out.extend_from_slice(bytes);
        self.wake.notify_one();
        Ok(())
    }

    /// Reads and writes until the connection breaks.
    pub(super) async fn drive(&self, inlet: &Inlet) -> Refused {
        let Some((mut stream, mut input)) = self.stream.borrow_mut().take() else {
            return Refused::new("the connection ended");
        };
        let (mut reader, mut writer) = stream.split();
        let reading = async {
            loop {
                while let Some(told) = parse(&mut input, self.max_payload)? {
                    self.hear(told, inlet)?;
                }
                inlet.flush();
                if input.capacity() > BROKER_BATCH_BYTES && input.is_empty() {
                    // One large message must not keep its memory.
                    input = BytesMut::new();
                }
                input.reserve(16 * 1024);
                if reader.read_buf(&mut input).await.map_err(Refused::new)? == 0 {
                    return Err(Refused::new("the connection ended"));
                }
            }
        };
        let writing = async {
            loop {
                let bytes = std::mem::take(&mut *self.out.borrow_mut());
                if bytes.is_empty() {
                    self.wake.notified().await;
                } else {
                    writer.write_all(&bytes).await.map_err(Refused::new)?;
                    self.room.notify_one();
                }
            }
        };
        let outcome: Result<(), Refused> = tokio::select! {
            outcome = reading => outcome,
            outcome = writing => outcome,
        };
        outcome.err().unwrap_or_else(|| Refused::new("the connection ended"))
    }

    fn hear(&self, told: Told, inlet: &Inlet) -> Result<(), Refused> {
        match told {
            Told::Message(payload) => inlet.take(&payload),
            Told::Ping => self.append(b"PONG\r\n")?,
            Told::Pong => {
                self.answered.set(self.answered.get() + 1);
                self.pong.notify_one();
            }
            // A subject that we may not use: the connection goes on, and nobody hears the rest.
            Told::Error(error) => return Err(Refused::new(error)),
            // The servers of its cluster have changed: the URL is what we go by.
            Told::Info(_) | Told::Ok => {}
        }
        Ok(())
    }
}

/// What a client begins with; the answer to its PING says that all is well.
fn hello(url: &BrokerUrl) -> String {
    let mut hello = String::from(
        r#"CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"echo":false,"headers":false,"protocol":1,"lang":"rust","name":"pocketsocket","version":""#,
    );
    hello.push_str(env!("CARGO_PKG_VERSION"));
    hello.push('"');
    let mut field = |name: &str, value: &str| {
        // URLs hold no control characters, so these two are all that JSON wants escaped.
        let value = value.replace('\\', r"\\").replace('"', "\\\"");
        let _ = write!(hello, r#","{name}":"{value}""#);
    };
    match (&url.user, &url.password) {
        (Some(user), Some(password)) => {
            field("user", user);
            field("pass", password);
        }
        (Some(token), None) | (None, Some(token)) => field("auth_token", token),
        (None, None) => {}
    }
    hello.push_str("}\r\nPING\r\n");
    hello
}

/// Reads until the server has said one thing.
async fn next(stream: &mut TcpStream, input: &mut BytesMut) -> Result<Told, Refused> {
    loop {
        if let Some(told) = parse(input, 0)? {
            return Ok(told);
        }
        if stream.read_buf(input).await.map_err(Refused::new)? == 0 {
            return Err(Refused::new("it ended the connection"));
        }
    }
}

/// Takes one thing that the server said from the start of `input`; `None` if it is not all there.
fn parse(input: &mut BytesMut, max_payload: usize) -> Result<Option<Told>, Refused> {
    let no_nats = || Refused::new("it does not speak the protocol of NATS");
    let Some(end) = input.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        return if input.len() < MAX_LINE { Ok(None) } else { Err(no_nats()) };
    };
    let line = str::from_utf8(&input[..end]).map_err(|_| no_nats())?.trim_end();
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let told = match word.to_ascii_uppercase().as_str() {
        "MSG" => {
            // Subject, number, maybe where to reply to, and the length.
            let words: Vec<&str> = rest.split_ascii_whitespace().collect();
            if !(3..=4).contains(&words.len()) {
                return Err(no_nats());
            }
            let len = words.last().and_then(|len| len.parse::<usize>().ok());
            let len = len.filter(|len| *len <= max_payload).ok_or_else(no_nats)?;
            let start = end + 1;
            if input.len() < start + len + 2 {
                input.reserve(start + len + 2 - input.len());
                return Ok(None);
            }
            if &input[start + len..start + len + 2] != b"\r\n" {
                return Err(no_nats());
            }
            input.advance(start);
            let payload = input.split_to(len).freeze();
            input.advance(2);
            return Ok(Some(Told::Message(payload)));
        }
        "PING" => Told::Ping,
        "PONG" => Told::Pong,
        "+OK" => Told::Ok,
        "INFO" => Told::Info(rest.to_owned()),
        "-ERR" => {
            let error = rest.trim().trim_matches('\'').chars().filter(|c| !c.is_control());
            Told::Error(error.take(200).collect())
        }
        _ => return Err(no_nats()),
    };
    input.advance(end + 1);
    Ok(Some(told))
}

/// The text after a field of INFO, which is one flat JSON object. A whole reader of JSON for two fields is not worth its size.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = info.split_once(&format!("\"{name}\""))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn flag(info: &str, name: &str) -> bool {
    field(info, name).is_some_and(|value| value.starts_with("true"))
}

fn number(info: &str, name: &str) -> Option<usize> {
    let value = field(info, name)?;
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    value[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &[u8]) -> Result<Vec<Told>, Refused> {
        let mut input = BytesMut::from(text);
        let mut all = Vec::new();
        while let Some(one) = parse(&mut input, 100)? {
            all.push(one);
        }
        Ok(all)
    }

    #[test]
    fn what_a_server_says_is_read_however_it_is_cut() {
        let text = b"INFO {\"a\":1}\r\nMSG a.b 1 5\r\nhe\r\no\r\nmsg a 22 reply 0\r\n\r\nPING\r\nPONG\r\n+OK\r\n-ERR 'Slow Consumer'\r\n";
        let all = told(text).unwrap();
        let expected = [
            Told::Info("{\"a\":1}".to_owned()),
            Told::Message(Bytes::from_static(b"he\r\no")),
            Told::Message(Bytes::new()),
            Told::Ping,
            Told::Pong,
            Told::Ok,
            Told::Error("Slow Consumer".to_owned()),
        ];
        assert_eq!(all, expected);
        let mut input = BytesMut::new();
        let mut one_by_one = Vec::new();
        for byte in text {
            input.extend_from_slice(&[*byte]);
            one_by_one.extend(parse(&mut input, 100).unwrap());
        }
        assert_eq!(one_by_one, expected);
    }

    #[test]
    fn what_is_not_the_protocol_ends_the_connection() {
        for text in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"MSG a 1\r\n",
            b"MSG a 1 x 5 6\r\nhello\r\n",
            b"MSG a 1 101\r\n",
            b"MSG a 1 99999999999999999999999\r\n",
            b"MSG a 1 -1\r\n",
            b"MSG a 1 5\r\nhello!!",
            b"\xff\r\n",
            b"\r\n",
        ] {
            assert!(told(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert!(told(&vec![b'x'; MAX_LINE]).is_err(), "a line without an end");
        assert_eq!(told(b"MSG a 1 5\r\nhell").unwrap(), []);
    }

    #[test]
    fn a_subject_is_subscribed_to_once_at_a_time() {
        let client = Client::new(None, 100);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for wanted in [true, true, false, false, true] {
            runtime.block_on(client.listen(&["a".to_owned()], wanted)).unwrap();
        }
        assert_eq!(*client.out.borrow(), b"SUB a 1\r\nUNSUB 1\r\nSUB a 2\r\n");
    }

    #[test]
    fn two_fields_of_info_are_found() {
        let info = r#"{"server_id":"X","max_payload": 1048576,"tls_required":true}"#;
        assert_eq!(number(info, "max_payload"), Some(1_048_576));
        assert!(flag(info, "tls_required"));
        assert!(!flag(info, "auth_required"));
        assert_eq!(number("{}", "max_payload"), None);
    }

    #[test]
    fn credentials_are_escaped_and_a_lone_one_is_a_token() {
        let hello = |url: &str| super::hello(&url.parse().unwrap());
        assert!(hello(r"nats://me:p%22\@h").contains(r#""user":"me","pass":"p\"\\"}"#));
        assert!(hello("nats://t0ken@h").contains(r#","auth_token":"t0ken"}"#));
        assert!(!hello("nats://h").contains("auth_token"));
    }
}
