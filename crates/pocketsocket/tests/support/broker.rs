//! Real brokers, as processes of their own, and a network between them and a node that can be cut.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Redis,
    Nats,
}

impl Kind {
    fn program(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Nats => "nats-server",
        }
    }

    pub fn scheme(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Nats => "nats",
        }
    }

    /// Whether the broker is not installed, which is told; with `REQUIRE_ALL` it is a failure.
    #[allow(clippy::print_stderr)]
    pub fn is_missing(self) -> bool {
        let found = Command::new(self.program())
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_ok() {
            return false;
        }
        let program = self.program();
        assert!(std::env::var_os("REQUIRE_ALL").is_none(), "{program} is missing");
        eprintln!("SKIPPED: {program} is missing (Debian: apt-get install {program})");
        true
    }
}

/// A broker's process; ends with the test.
pub struct Broker {
    pub kind: Kind,
    pub port: u16,
    password: Option<&'static str>,
    child: Child,
}

impl Broker {
    pub fn start(kind: Kind) -> Self {
        Self::with_password(kind, None)
    }

    pub fn with_password(kind: Kind, password: Option<&'static str>) -> Self {
        let port = free_port();
        Self { kind, port, password, child: spawn(kind, port, password) }
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.kind.scheme(), self.port)
    }

    /// As a machine that loses power.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Again on the same port.
    pub fn restart(&mut self) {
        self.child = spawn(self.kind, self.port, self.password);
    }

    /// It hangs: its connections stay, and nothing answers.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Publishes what no node would, to the channel of all nodes.
    pub fn publish_raw(&self, bytes: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut command = match self.kind {
            Kind::Redis => {
                format!(
                    "*3\r\n$8\r\nSPUBLISH\r\n$18\r\n{{pocketsocket}}.all\r\n${}\r\n",
                    bytes.len()
                )
            }
            Kind::Nats => format!("CONNECT {{}}\r\nPUB pocketsocket.all {}\r\n", bytes.len()),
        }
        .into_bytes();
        command.extend_from_slice(bytes);
        command.extend_from_slice(b"\r\nPING\r\n");
        stream.write_all(&command).unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|word| word == b"PONG") {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..read]);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(kind: Kind, port: u16, password: Option<&str>) -> Child {
    let mut command = Command::new(kind.program());
    let port_text = port.to_string();
    match kind {
        Kind::Redis => {
            command.args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port_text,
                "--save",
                "",
                "--appendonly",
                "no",
            ]);
            if let Some(password) = password {
                command.args(["--requirepass", password]);
            }
        }
        Kind::Nats => {
            command.args(["--addr", "127.0.0.1", "--port", &port_text]);
            if let Some(password) = password {
                command.args(["--user", "me", "--pass", password]);
            }
        }
    }
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "the broker does not listen");
        thread::sleep(Duration::from_millis(5));
    }
    child
}

/// A network between a node and its broker: forwards bytes until it is cut.
pub struct Network {
    pub port: u16,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Network {
    pub fn to(broker: &Broker) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let target = broker.port;
        let (is_cut, all) = (Arc::clone(&cut), Arc::clone(&streams));
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if is_cut.load(SeqCst) {
                    // Accepted by the system, and nothing comes: kept, so that it does not end either.
                    all.lock().unwrap().push(client);
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                for (mut from, mut to) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server.try_clone().unwrap(), client.try_clone().unwrap()),
                ] {
                    let is_cut = Arc::clone(&is_cut);
                    thread::spawn(move || {
                        let mut buffer = [0; 65536];
                        while let Ok(read) = from.read(&mut buffer) {
                            if read == 0 {
                                break;
                            }
                            // What travels in a cut network is lost, and nobody is told.
                            if !is_cut.load(SeqCst) && to.write_all(&buffer[..read]).is_err() {
                                break;
                            }
                        }
                        if !is_cut.load(SeqCst) {
                            let _ = to.shutdown(Shutdown::Both);
                        }
                    });
                }
                all.lock().unwrap().extend([client, server]);
            }
        });
        Self { port, cut, streams }
    }

    pub fn cut(&self) {
        self.cut.store(true, SeqCst);
    }

    /// New connections work; those from before are gone.
    pub fn mend(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.cut.store(false, SeqCst);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.mend();
    }
}
