//! `print`: one line an event on standard output, with control characters escaped.
//!
//! Lines are written by a thread of their own: a terminal that is paused must not stop the sockets. When it is behind by
//! 1,024 lines, lines are left out and counted.

use std::{
    fmt::Write as _,
    io::Write as _,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use crate::{Asked, Error, Event, EventKind, Host, Lane, Offer, Server};

/// Lines that may wait.
const LINES: usize = 1024;
/// Characters of a message that are shown.
const SHOWN: usize = 1000;

/// How long the end of the server waits for a reader that takes its time.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What the printing thread gets.
enum Line {
    Text(String),
    /// All before it is to be written now; then this is told.
    Flush(SyncSender<()>),
}

/// A host that prints what it passes on to another.
pub struct Printing<H> {
    inner: H,
    lines: SyncSender<Line>,
    left_out: AtomicUsize,
}

impl<H: Host> Printing<H> {
    /// Starts the thread that prints.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub fn new(inner: H) -> Result<Self, Error> {
        let (lines, waiting) = sync_channel(LINES);
        thread::Builder::new()
            .name("pocketsocket-print".to_owned())
            .spawn(move || {
                for line in waiting {
                    let written = match line {
                        Line::Text(line) => std::io::stdout().write_all(line.as_bytes()),
                        Line::Flush(done) => {
                            let flushed = std::io::stdout().flush();
                            // Nobody waits any more: the server has ended meanwhile.
                            let _ = done.send(());
                            flushed
                        }
                    };
                    // A closed standard output ends the printing, not the server.
                    if written.is_err() {
                        return;
                    }
                }
            })
            .map_err(|source| Error::Thread { source })?;
        Ok(Self { inner, lines, left_out: AtomicUsize::new(0) })
    }

    fn print(&self, mut line: String) {
        line.push('\n');
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            line = format!("({left_out} events not shown)\n{line}");
        }
        if self.lines.try_send(Line::Text(line)).is_err() {
            self.left_out.fetch_add(left_out + 1, Ordering::Relaxed);
        }
    }
}

impl<H: Host> Host for Printing<H> {
    fn started(&self, server: &Server) {
        self.inner.started(server);
    }

    fn assign(&self) -> Lane {
        // Without a consumer there would be nothing to print: the inner host's answer decides after the line.
        self.inner.assign()
    }

    fn offer(&self, lane: Lane, event: &Event<'_>) -> Offer {
        let offer = self.inner.offer(lane, event);
        if matches!(offer, Offer::Taken | Offer::Kept) {
            self.print(line(event));
        }
        offer
    }

    fn offer_first(&self, lane: Lane, event: &Event<'_>) -> Offer {
        let offer = self.inner.offer_first(lane, event);
        if matches!(offer, Offer::Taken | Offer::Kept) {
            self.print(line(event));
        }
        offer
    }

    fn flush(&self, lane: Lane) {
        self.inner.flush(lane);
    }

    fn unassign(&self, lane: Lane) {
        self.inner.unassign(lane);
    }

    fn authorize(&self, asked: Asked) {
        self.inner.authorize(asked);
    }

    fn error(&self, error: &Error) {
        self.print(format!("error {}: {error}", error.code()));
        self.inner.error(error);
    }

    fn discarded(&self, event: &Event<'_>) {
        self.print(line(event));
        self.inner.discarded(event);
    }

    fn stopped(&self) {
        let (done, wait) = sync_channel(1);
        if self.lines.try_send(Line::Flush(done)).is_ok() {
            // A reader that is paused does not hold the end up for ever.
            let _ = wait.recv_timeout(LAST_LINES);
        }
        self.inner.stopped();
    }
}

/// One event as a line, without its end.
fn line(event: &Event<'_>) -> String {
    let mut line = format!("{} ", event.uuid);
    // Writing to a String cannot fail.
    let _ = match event.kind {
        EventKind::Connect { request, .. } => {
            let address = request.remote_address.map(|ip| ip.to_string()).unwrap_or_default();
            write!(line, "connect {address} ").map(|()| escape(&mut line, &request.url))
        }
        EventKind::Text(text) => {
            write!(line, "text {} ", text.len()).map(|()| escape(&mut line, text))
        }
        EventKind::Binary(bytes) => write!(line, "binary {}", bytes.len()),
        EventKind::Close(info) => {
            write!(line, "close {} ", info.code).map(|()| escape(&mut line, &info.reason))
        }
        EventKind::Drain => write!(line, "drain"),
    };
    line.truncate(line.trim_end().len());
    line
}

/// Appends text so that it stays on its line and cannot steer a terminal.
fn escape(line: &mut String, text: &str) {
    for char in text.chars().take(SHOWN) {
        // Beyond control characters: marks that turn the direction of writing, and separators of lines.
        let hidden = char.is_control()
            || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if hidden || char == '\\' {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        line.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_cannot_steer_a_terminal() {
        let mut line = String::new();
        escape(&mut line, "a\x1b[2J\nb\r\0\u{202e}\u{9b}\\ é 😀");
        assert_eq!(line, r"a\u{1b}[2J\nb\r\u{0}\u{202e}\u{9b}\\ é 😀");
    }

    #[test]
    fn long_text_is_cut() {
        let mut line = String::new();
        escape(&mut line, &"é".repeat(SHOWN + 1));
        assert_eq!(line.chars().count(), SHOWN + 1);
        assert!(line.ends_with('…'));
    }
}
