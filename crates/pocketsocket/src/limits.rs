//! Limits of the machine, of a turn and of a queue: the numbers that keep one socket from hurting the others.

/// How many sockets a server can number: the slot has 22 bits in a uuid.
pub(crate) const MAX_SLOTS: usize = (1 << 22) - 1;

/// How many of them are allocated at a time.
pub(crate) const CHUNK: usize = 1024;

/// How much one socket may bring into the server in one turn, so that a flood cannot hold its shard.
pub(crate) const TURN_BYTES: usize = 64 * 1024;
/// How many messages one socket may bring in one turn.
pub(crate) const TURN_MESSAGES: usize = 64;

/// Bytes of `inbound_limit` for which one message may wait of a socket: empty messages are bounded too.
pub(crate) const INBOUND_MESSAGE: usize = 64;

/// Frames of a socket up to this size are put together into one write of up to [`TURN_BYTES`]; larger ones are written from
/// where they are.
pub(crate) const COPY_FRAMES: usize = 4 * 1024;

/// How many sockets of a shard that ended before any hook came are kept for the next one.
pub(crate) const ORPHANS: usize = 1024;

/// Fixed cost of a queued message or command, in bytes: bounds queues of empty messages.
pub(crate) const ENTRY_BYTES: usize = 16;

/// How much may wait to be handed to a broker, in bytes; the largest message to or from one.
pub(crate) const BROKER_QUEUE: usize = 64 << 20;
/// How much of it is handed over at once: bytes, and messages.
pub(crate) const BROKER_BATCH_BYTES: usize = 256 * 1024;
pub(crate) const BROKER_BATCH_MESSAGES: usize = 1024;
/// The longest prefix of a broker's channels, bytes.
pub(crate) const MAX_PREFIX_BYTES: usize = 64;

/// The close code and reason of a client that does not read (1013, try again later, of IANA's registry of close codes).
pub(crate) const TOO_SLOW: (u16, &str) = (1013, "too slow");

/// Requests that wait for the application to authorize them, in bytes; more are refused.
pub(crate) const ASKED_BYTES: usize = 16 << 20;
/// What it may say of a socket, in bytes.
pub(crate) const MAX_DATA_BYTES: usize = 4096;

/// Topics: how many a socket may subscribe to, and the longest name in bytes.
pub(crate) const MAX_TOPICS: usize = 256;
pub(crate) const MAX_TOPIC_BYTES: usize = 256;

/// 90 % of the open-file limit: the rest stays for the application's own files.
pub(crate) fn default_max_connections() -> usize {
    (open_file_limit() / 10 * 9).clamp(16, MAX_SLOTS)
}

#[cfg(unix)]
fn open_file_limit() -> usize {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile)
        .current
        .map_or(MAX_SLOTS, |n| usize::try_from(n).unwrap_or(MAX_SLOTS))
}

#[cfg(not(unix))]
fn open_file_limit() -> usize {
    // Windows has no such limit on sockets; this keeps memory within reason.
    16_384
}

/// Raises the soft limit on open files to the hard one, as Node.js does at its start: for executables of their own.
///
/// Does nothing where there is no such limit, or where it cannot be raised.
pub fn raise_open_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        // A system that refuses leaves us with the soft limit, which is what the server then counts with.
        let _ =
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::process::{Resource, getrlimit};

    use super::*;

    #[test]
    fn the_soft_limit_on_files_is_raised_and_a_tenth_of_it_is_left_to_the_application() {
        raise_open_file_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        let files = limit.current.map_or(MAX_SLOTS, |files| files as usize).min(MAX_SLOTS * 10 / 9);
        let most = default_max_connections();
        assert!(most >= 16 && (most == 16 || (files * 8 / 9..files).contains(&most)), "{most}");
    }
}
