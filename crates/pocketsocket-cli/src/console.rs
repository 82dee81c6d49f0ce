//! Lines that are written while the server runs, by a thread of their own.
//!
//! Writing to a paused terminal or a full pipe blocks. The threads that have something to tell then, those of the
//! sockets and the one that catches signals, must not: they hand their line over and go on.

use std::{
    fmt,
    io::{self, Write},
    sync::{
        OnceLock,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// Lines that may wait; more are left out. A server has few to tell.
const WAITING: usize = 64;

/// What is handed to the thread.
#[derive(Debug)]
enum Entry {
    Out(String),
    Err(String),
    /// Answered once all before it is written.
    Mark(SyncSender<()>),
}

/// The process's standard output and error. Its thread starts with the first line.
#[derive(Debug, Default)]
pub(crate) struct Console {
    entries: OnceLock<SyncSender<Entry>>,
}

impl Console {
    /// Writes a line to standard output, soon.
    pub(crate) fn out(&self, line: String) {
        self.hand_over(Entry::Out(line + "\n"));
    }

    /// Writes an error to standard error, soon.
    pub(crate) fn err(&self, error: &dyn fmt::Display) {
        self.hand_over(Entry::Err(one_line(error)));
    }

    /// Waits until all lines are written, but no longer than `timeout`.
    pub(crate) fn flush(&self, timeout: Duration) {
        let (mark, written) = sync_channel(1);
        self.hand_over(Entry::Mark(mark));
        // Without an answer in time there is a reader that does not read: its loss.
        let _ = written.recv_timeout(timeout);
    }

    fn hand_over(&self, entry: Entry) {
        // Fails if too much waits, or if the thread could not start: there is nobody to tell of it.
        let _ = self.entries.get_or_init(spawn).try_send(entry);
    }
}

fn spawn() -> SyncSender<Entry> {
    let (sender, entries) = sync_channel(WAITING);
    // Without its thread the channel has no receiver, and lines are left out.
    let _ = thread::Builder::new()
        .name("pocketsocket-console".to_owned())
        .spawn(move || write(&entries));
    sender
}

fn write(entries: &Receiver<Entry>) {
    for entry in entries {
        // A closed stream ends the telling, not the server.
        let _ = match entry {
            Entry::Out(line) => io::stdout().write_all(line.as_bytes()),
            Entry::Err(line) => io::stderr().write_all(line.as_bytes()),
            Entry::Mark(mark) => {
                let _ = mark.send(());
                Ok(())
            }
        };
    }
}

/// An error as it is told: one line, whatever is in the names that it quotes.
pub(crate) fn one_line(error: &dyn fmt::Display) -> String {
    let mut line = String::from("pocketsocket: ");
    for char in error.to_string().chars() {
        if char.is_control() {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_is_over_when_all_before_it_is_written_or_nobody_writes() {
        Console::default().flush(Duration::from_secs(60));
        let (sender, entries) = sync_channel(WAITING);
        drop(entries);
        let console = Console { entries: OnceLock::from(sender) };
        console.flush(Duration::from_secs(60));
    }
}
