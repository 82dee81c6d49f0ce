//! One open socket: a task that reads, writes and closes.
//!
//! It reads into the shard's buffer and decodes there; what it sends are frames that were encoded by whoever sent them. An
//! idle socket keeps neither buffer nor queue.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use crate::{
    CloseInfo, EventKind, MessageKind, Pending, Request, SocketId, Uuid,
    addresses::Place,
    client::{About, Client},
    decoder::{Decoder, MessageLimits, Received},
    frame::{Fault, cut, encode, encode_close, opcode},
    handshake::HELLO,
    limits::{ENTRY_BYTES, TURN_BYTES, TURN_MESSAGES},
    linger::linger,
    mailbox::Receivers,
    rate::Bucket,
    registry::Reserved,
    shard::{Shard, ShardRef},
    stream::Stream,
};

/// Makes a socket of an upgraded connection: tells the host, and starts its task.
pub(crate) fn open(shard: ShardRef, stream: Stream, early: &[u8], uuid: Uuid, request: Request) {
    let id = uuid.id;
    // However the task ends, its Close is told: by a panic or the end of the runtime too, and if it never ran.
    let guard = EndGuard { shard, id };
    {
        let mut state = guard.shard.borrow_mut();
        let lane = state.shared.host.assign();
        let now = state.shared.now();
        state.insert(Client::new(uuid, lane, About::of(&request), Some(stream), now));
        state.shared.counters(state.index).opened.add(1);
        log::debug!("{uuid} opened: {}", request.url);
        if request.protocol == HELLO {
            let text = uuid.encode();
            if state.shared.registry.reserve(id, text.len() + ENTRY_BYTES) == Reserved::Ok {
                let frame: Bytes = encode(opcode::TEXT, &text).into();
                state.enqueue(id, &frame, 0..frame.len(), text.len());
            }
        }
        state.deliver(id, Pending::Connect { request: Box::new(request), resumed: false });
        if state.is_stopping() {
            let deadline = Instant::now() + state.shared.config.close_timeout;
            state.shared.registry.close(id);
            if let Some(client) = state.client(id) {
                client.close(1001, "server shutdown", deadline);
            }
        }
    }
    // A copy: the original keeps the whole buffer of the request alive, also when nothing is left of it.
    let early = early.to_vec();
    let limit = guard.shard.borrow().shared.config.rate_limit;
    let connection = Connection {
        id,
        decoder: Decoder::default(),
        carried: early,
        consumed: 0,
        closing: None,
        bucket: limit.map(|limit| Box::new(Bucket::new(limit, Instant::now()))),
    };
    tokio::task::spawn_local(Task { connection, lingering: None, guard });
}

/// The task of a socket. Not an async function: that would keep its arguments and locals beside what it waits for, in twice
/// the size.
struct Task {
    connection: Connection,
    /// What is left to do once the socket has ended. Few sockets are there at a time: all others would carry its size.
    lingering: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// However the task ends, its Close is told: by a panic or the end of the runtime too. Dropped last.
    guard: EndGuard,
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        loop {
            if let Some(lingering) = &mut task.lingering {
                return lingering.as_mut().poll(cx);
            }
            let outcome = ready!(task.connection.poll(cx, &task.guard.shard));
            task.lingering = task.guard.end(outcome);
            if task.lingering.is_none() {
                return Poll::Ready(());
            }
        }
    }
}

/// Tells the shard of the end, if nobody did before.
struct EndGuard {
    shard: ShardRef,
    id: SocketId,
}

impl EndGuard {
    /// Tells of the end. Gives what is left to do.
    fn end(&self, outcome: Outcome) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        let mut shard = self.shard.borrow_mut();
        let shared = Arc::clone(&shard.shared);
        let client = shard.client(self.id);
        let (stream, address) =
            client.map(|client| (client.stream.take(), client.about.take_place())).unzip();
        // It is a connection of its address until it is gone.
        let place = Place::of(&shared, address.flatten());
        shard.end(self.id, outcome.info);
        let (stream, last) = (stream.flatten()?, outcome.last_words?);
        Some(Box::pin(async move {
            linger(stream, last, &shared.config).await;
            drop(place);
        }))
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        // A panic inside of a borrow has released it while unwinding.
        let Ok(mut shard) = self.shard.try_borrow_mut() else { return };
        let failed = std::thread::panicking();
        // A host that panics again, now that the first panic unwinds, would end the process.
        let told = catch_unwind(AssertUnwindSafe(|| {
            if failed {
                shard.fail(self.id);
            } else {
                let info = CloseInfo { code: 1006, reason: String::new(), was_clean: false };
                shard.end(self.id, info);
            }
        }));
        if told.is_err() {
            log::error!("the host panicked at a Close");
        }
        shard.connection_ended();
    }
}

/// How a connection's task ends.
pub(crate) struct Outcome {
    pub(crate) info: CloseInfo,
    /// What the client is still to be sent, and to be given time to read: a close with unread bytes would destroy it on
    /// its way. `None` if the connection is gone, or out of time.
    pub(crate) last_words: Option<Bytes>,
}

pub(crate) struct Connection {
    pub(crate) id: SocketId,
    decoder: Decoder,
    /// Bytes that were read and are not decoded: the end of a turn came before theirs.
    carried: Vec<u8>,
    /// How much of `carried` is decoded.
    consumed: usize,
    /// Our Close was queued.
    pub(crate) closing: Option<CloseInfo>,
    /// Of a server with a limit of messages a second.
    bucket: Option<Box<Bucket>>,
}

impl Connection {
    fn poll(&mut self, cx: &mut Context<'_>, shard: &ShardRef) -> Poll<Outcome> {
        let shard = &mut *shard.borrow_mut();
        let Some(client) = shard.client(self.id).filter(|client| !client.ended) else {
            return Poll::Ready(self.broken());
        };
        match &mut client.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if let Some((info, deadline)) = client.closing.as_deref()
            && Instant::now() >= *deadline
        {
            // Time is up: the connection is cut without the client's Close.
            return Poll::Ready(Outcome { info: info.clone(), last_words: None });
        }
        if let Poll::Ready(outcome) = self.write(cx, shard) {
            return Poll::Ready(outcome);
        }
        let outcome = self.read(cx, shard);
        shard.relay.flush();
        if outcome.is_pending()
            && shard.client(self.id).is_some_and(|client| client.pongs.is_some())
        {
            return self.write(cx, shard);
        }
        outcome
    }

    /// Reads and decodes for one turn.
    fn read(&mut self, cx: &mut Context<'_>, shard: &mut Shard) -> Poll<Outcome> {
        if !self.may_read(cx, shard) {
            return Poll::Pending;
        }
        if !self.carried.is_empty() {
            let mut carried = std::mem::take(&mut self.carried);
            let start = std::mem::take(&mut self.consumed);
            let outcome = self.decode(cx, shard, &mut carried[start..]);
            return match outcome {
                Ok(taken) if start + taken < carried.len() => {
                    self.carried = carried;
                    self.consumed = start + taken;
                    self.wait_for_turn(cx, shard)
                }
                Ok(_) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Err(outcome) => Poll::Ready(outcome),
            };
        }
        let mut buffer = std::mem::take(&mut shard.read_buffer);
        if buffer.is_empty() {
            // A panic took the last one.
            buffer = vec![0; TURN_BYTES].into();
        }
        let outcome = self.read_into(cx, shard, &mut buffer);
        shard.read_buffer = buffer;
        outcome
    }

    fn read_into(
        &mut self,
        cx: &mut Context<'_>,
        shard: &mut Shard,
        buffer: &mut [u8],
    ) -> Poll<Outcome> {
        loop {
            let mut space = ReadBuf::new(buffer);
            let stream = shard.client(self.id).and_then(|client| client.stream.as_mut());
            let Some(stream) = stream else { return Poll::Ready(self.broken()) };
            match ready!(Pin::new(stream).poll_read(cx, &mut space)) {
                Ok(()) if !space.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(self.broken()),
            }
            let filled = space.filled_mut();
            let len = filled.len();
            let now = shard.shared.now();
            if let Some(client) = shard.client(self.id) {
                client.last_read = now;
            }
            let taken = match self.decode(cx, shard, filled) {
                Ok(taken) => taken,
                Err(outcome) => return Poll::Ready(outcome),
            };
            if taken < len {
                self.carried = filled[taken..].to_vec();
                return self.wait_for_turn(cx, shard);
            }
            if !self.may_read(cx, shard) {
                return Poll::Pending;
            }
            if len == buffer.len() {
                // There may be more, after the others.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // A short read has found the end of what was there: the next poll of the stream only registers for more.
        }
    }

    /// More is at hand: it comes back after the others, or once the queue has room.
    fn wait_for_turn(&mut self, cx: &mut Context<'_>, shard: &mut Shard) -> Poll<Outcome> {
        if self.may_read(cx, shard) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether the socket's queue has room, nobody has paused it, and it has a token. While it is closing nothing is queued any
    /// more, and its Close is awaited.
    ///
    /// If not, the task is woken when that may have changed.
    fn may_read(&mut self, cx: &mut Context<'_>, shard: &mut Shard) -> bool {
        let Shard { clients, shared, .. } = shard;
        let waiting = shared.inbound.load(std::sync::atomic::Ordering::Relaxed);
        let client = clients.get_mut(self.id.slot as usize).and_then(Option::as_deref_mut);
        let Some(client) = client.filter(|client| client.uuid.id == self.id) else { return false };
        let may = self.closing.is_some()
            || (client.may_read(&shared.config, waiting)
                && self.bucket.as_mut().is_none_or(|bucket| bucket.poll_token(cx).is_ready()));
        client.paused = !may;
        may
    }

    /// Decodes what was read, up to the end of the turn. Gives how much of it.
    fn decode(
        &mut self,
        cx: &mut Context<'_>,
        shard: &mut Shard,
        bytes: &mut [u8],
    ) -> Result<usize, Outcome> {
        let config = &shard.shared.config;
        let limits = MessageLimits { payload: config.max_payload, fragments: config.max_fragments };
        let mut decoder = std::mem::take(&mut self.decoder);
        let (mut at, mut messages, mut payloads, mut count) = (0, 0, 0, 0);
        let outcome = loop {
            if at == bytes.len() {
                break Ok(at);
            }
            match decoder.next(&mut bytes[at..], limits) {
                Ok((taken, None)) => break Ok(at + taken),
                Ok((taken, Some(received))) => {
                    at += taken;
                    messages += 1;
                    if let Received::Text(_) | Received::Binary(_) = received {
                        count += 1;
                        if let Some(bucket) = &mut self.bucket {
                            bucket.take();
                        }
                    }
                    match self.receive(shard, &received) {
                        Ok(len) => payloads += len,
                        Err(outcome) => break Err(outcome),
                    }
                    if messages >= TURN_MESSAGES || !self.may_read(cx, shard) {
                        break Ok(at);
                    }
                }
                Err(fault) => break Err(self.fail(shard, fault)),
            }
        };
        self.decoder = decoder;
        let counters = shard.shared.counters(shard.index);
        counters.messages_in.add(count);
        counters.bytes_in.add(payloads);
        outcome
    }

    /// Handles one message. Gives the length of its payload, if it is one for the host.
    fn receive(&mut self, shard: &mut Shard, received: &Received<'_>) -> Result<usize, Outcome> {
        let closing = self.closing.is_some();
        match received {
            Received::Close(close) => Err(self.answer_close(shard, *close)),
            // What comes after our Close is ignored.
            _ if closing => Ok(0),
            Received::Text(text) => {
                self.relay(shard, MessageKind::Text, text.as_bytes());
                shard.deliver_message(self.id, EventKind::Text(text));
                Ok(text.len())
            }
            Received::Binary(bytes) => {
                self.relay(shard, MessageKind::Binary, bytes);
                shard.deliver_message(self.id, EventKind::Binary(bytes));
                Ok(bytes.len())
            }
            Received::Ping(payload) => {
                if let Some(client) = shard.client(self.id) {
                    let pongs = client.pongs.get_or_insert_default();
                    if client.blocked {
                        pongs.clear();
                    }
                    pongs.extend(encode(opcode::PONG, payload));
                }
                Ok(0)
            }
            // That something was read is all that it tells.
            Received::Pong => Ok(0),
        }
    }

    fn relay(&self, shard: &mut Shard, kind: MessageKind, payload: &[u8]) {
        if shard.shared.config.broadcast {
            shard.relay.share(&Receivers::All, kind, payload, Some(self.id), None);
        }
    }

    /// The client has sent its Close. What still waited to be sent is given up, but for the rest of a frame.
    fn answer_close(&mut self, shard: &mut Shard, close: Option<(u16, &str)>) -> Outcome {
        if let Some(ours) = self.closing.take() {
            let last_words = Some(self.our_close(shard, &ours));
            return Outcome { last_words, info: CloseInfo { was_clean: true, ..ours } };
        }
        let (code, reason) = close.unwrap_or((1005, ""));
        let last = self.after_frame(shard, &encode_close(code, ""));
        let info = CloseInfo { code, reason: reason.to_owned(), was_clean: true };
        Outcome { info, last_words: Some(last) }
    }

    /// The client has broken the rules: it is told so, and the connection ends.
    fn fail(&mut self, shard: &mut Shard, fault: Fault) -> Outcome {
        shard.shared.counters(shard.index).faults.add(1);
        // Already closing: its fault changes nothing about why.
        if let Some(ours) = self.closing.take() {
            let last_words = Some(self.our_close(shard, &ours));
            return Outcome { info: ours, last_words };
        }
        let reason = fault.to_string();
        let info =
            CloseInfo { code: fault.code(), reason: cut(&reason).to_owned(), was_clean: false };
        let last = self.after_frame(shard, &encode_close(info.code, &info.reason));
        Outcome { info, last_words: Some(last) }
    }

    /// The connection is gone without a Close frame of the client.
    pub(crate) fn broken(&mut self) -> Outcome {
        let info = self.closing.take().unwrap_or(CloseInfo {
            code: 1006,
            reason: String::new(),
            was_clean: false,
        });
        Outcome { info, last_words: None }
    }
}
