//! Clients that come and go: connect, handshake, one echo, reset. A reset leaves no port behind in TIME_WAIT.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::DRAIN;
use crate::{
    Failure, args::Args, frame::Message, handshake, meter::Meter, report::Report, swarm::Socket,
};

/// One client after the other.
struct Visit {
    began: Instant,
    stage: Stage,
}

enum Stage {
    /// Connects, then asks and waits for the answer.
    Opening {
        stream: TcpStream,
        asked: bool,
        answer: Vec<u8>,
    },
    Echoing(Socket),
    /// It has ended, and no other came.
    Over,
}

/// What all visits share.
struct Server {
    address: SocketAddr,
    request: Vec<u8>,
    message: Message,
}

impl Visit {
    fn begin(poll: &Poll, token: Token, server: &Server) -> io::Result<Self> {
        let began = Instant::now();
        let mut stream = TcpStream::connect(server.address)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, token, interest)?;
        let stage = Stage::Opening { stream, asked: false, answer: Vec::new() };
        Ok(Self { began, stage })
    }

    /// Goes on as far as it can; `true` once the echo is there and the connection reset.
    fn go_on(&mut self, server: &Server, buffer: &mut [u8], ended: bool) -> Result<bool, Failure> {
        if let Stage::Opening { stream, asked, answer } = &mut self.stage {
            if !*asked {
                if let Some(error) = stream.take_error()? {
                    return Err(error.into());
                }
                stream.set_nodelay(true)?;
                match stream.write(&server.request) {
                    Ok(count) if count == server.request.len() => *asked = true,
                    Err(error) if is_early(&error) => return Ok(false),
                    Ok(_) => return Err("a socket did not take a whole request".into()),
                    Err(error) => return Err(error.into()),
                }
            }
            match stream.read(buffer) {
                Ok(0) => return Err("the server cut a connection".into()),
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(error) if is_early(&error) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            if !handshake::is_open(answer)? {
                return Ok(false);
            }
            let Stage::Opening { stream, .. } = std::mem::replace(&mut self.stage, Stage::Over)
            else {
                return Ok(false);
            };
            let mut socket = Socket::new(stream);
            socket.send(&server.message, 1)?;
            self.stage = Stage::Echoing(socket);
            return Ok(false);
        }
        let Stage::Echoing(socket) = &mut self.stage else { return Ok(false) };
        socket.flush(&server.message)?;
        match socket.receive(&server.message, buffer, ended)? {
            0 => Ok(false),
            1 => {
                socket2::SockRef::from(&*socket.stream()).set_linger(Some(Duration::ZERO))?;
                self.stage = Stage::Over;
                Ok(true)
            }
            _ => Err("more came back than was sent".into()),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }
}

/// Not connected yet, or nothing there yet.
fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

/// `churn`: see the program's help.
pub(crate) fn churn(mut args: Args) -> Result<Report, Failure> {
    let address = args.url()?;
    let parallel = args.count("parallel", 50)?;
    let message = Message::new(args.count("size", 64)?, args.flag("binary"));
    let (warmup, length) = (args.seconds("warmup", 1.0)?, args.seconds("seconds", 5.0)?);
    let pid = args.optional("pid")?;
    args.finish()?;

    let server = Server { address, request: handshake::request(address), message };
    let mut poll = Poll::new()?;
    let mut visits = (0..parallel)
        .map(|index| Visit::begin(&poll, Token(index), &server))
        .collect::<io::Result<Vec<_>>>()?;
    let mut meter = Meter::new(warmup, length, pid)?;
    let mut report = Report::new("churn");
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; 64 * 1024]);
    let mut last = None;
    loop {
        let over = meter.is_over();
        if over && visits.iter().all(Visit::is_over) {
            break;
        }
        let until =
            if over { *last.get_or_insert_with(|| Instant::now() + DRAIN) } else { meter.next() };
        if over && Instant::now() >= until {
            break;
        }
        match poll.poll(&mut events, Some(until.saturating_duration_since(Instant::now()))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let visit = &mut visits[event.token().0];
            match visit.go_on(&server, &mut buffer, event.is_read_closed()) {
                Ok(false) => continue,
                Ok(true) => meter.record(visit.began.elapsed(), 1),
                Err(failure) => {
                    report.error(failure);
                    visit.stage = Stage::Over;
                    // A server that refuses all would be asked without end.
                    if report.errors() > 1000 {
                        return Ok(report);
                    }
                }
            }
            if !over {
                *visit = Visit::begin(&poll, event.token(), &server)?;
            }
        }
    }
    meter.report(&mut report, "connections");
    let missing = visits.iter().filter(|visit| !visit.is_over()).count() as u64;
    report.add_errors(missing, format!("{missing} connections did not end"));
    Ok(report)
}
