//! The flood: sockets that write as much as the server takes, on a thread beside the one that measures.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{Failure, frame::Message, handshake};

/// The payload of a frame of 38 bytes.
const PAYLOAD: usize = 32;
/// How soon the end is seen while nothing moves.
const LOOK: Duration = Duration::from_millis(50);

/// A flood that runs until it is stopped.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), Failure>>,
}

struct Flooder {
    stream: TcpStream,
    /// Where in the block it stands.
    at: usize,
}

impl Flood {
    /// Opens the sockets and starts.
    pub(crate) fn start(address: SocketAddr, flooders: usize) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let mut sockets = Vec::with_capacity(flooders);
        for index in 0..flooders {
            let stream = handshake::open(address)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(index), interest)?;
            sockets.push(Flooder { stream, at: 0 });
        }
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let thread = {
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            thread::spawn(move || pump(poll, sockets, &stop, &written))
        };
        Ok(Self { stop, written, thread })
    }

    /// Messages written so far.
    pub(crate) fn messages(&self) -> u64 {
        self.written.load(Ordering::Relaxed) / (PAYLOAD as u64 + 6)
    }

    /// Stops it.
    ///
    /// # Errors
    /// What ended it before.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| "the flood's thread panicked")?
    }
}

/// Writes blocks, and reads what comes without looking at it. A server may close flooders: that is its right.
fn pump(
    mut poll: Poll,
    sockets: Vec<Flooder>,
    stop: &AtomicBool,
    written: &AtomicU64,
) -> Result<(), Failure> {
    let message = Message::new(PAYLOAD, true);
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(64);
    let mut sockets: Vec<_> = sockets.into_iter().map(Some).collect();
    // Those that may have more to do without a new event.
    let mut busy: Vec<usize> = (0..sockets.len()).collect();
    while !stop.load(Ordering::Acquire) {
        let timeout = if busy.is_empty() { LOOK } else { Duration::ZERO };
        match poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let index = event.token().0;
            if !busy.contains(&index) {
                busy.push(index);
            }
        }
        busy.retain(|&index| {
            let Some(flooder) = &mut sockets[index] else { return false };
            let read = flooder.stream.read(&mut buffer);
            let wrote = flooder.stream.write(&message.out[flooder.at..]);
            if let Ok(count) = wrote {
                written.fetch_add(count as u64, Ordering::Relaxed);
                flooder.at = (flooder.at + count) % message.out.len();
            }
            if is_end(&read) || is_end(&wrote) {
                sockets[index] = None;
                return false;
            }
            read.is_ok() || wrote.is_ok()
        });
    }
    Ok(())
}

fn is_end(result: &io::Result<usize>) -> bool {
    match result {
        Ok(count) => *count == 0,
        Err(error) => {
            !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        }
    }
}
