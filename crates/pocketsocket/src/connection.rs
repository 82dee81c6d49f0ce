//! One open socket: a task that reads, writes and closes, on tungstenite as its engine.
//!
//! tungstenite's defaults suit one socket, not thousands: here its read buffer is small, its limits are set, and a flush
//! follows a burst instead of each message. It is given little at a time, since its buffers never shrink and it tells
//! only that all was written, never how much.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        error::ProtocolError,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

use crate::{
    CloseInfo, EventKind, MessageKind, Pending, Request, SendStatus, SocketId, Uuid,
    client::{About, Client, Outgoing},
    handshake::HELLO,
    limits::{ENGINE_BYTES, ENTRY_BYTES, TURN_BYTES, TURN_MESSAGES},
    linger::linger,
    mailbox::Receivers,
    shard::{Shard, ShardRef},
};

/// A frame of a few hundred bytes is the rule; larger ones grow the buffer.
const READ_BUFFER: usize = 4096;
/// The longest reason of a Close frame, bytes: RFC 6455 section 5.5 less the code.
const MAX_REASON: usize = 123;

/// Makes a socket of an upgraded connection: tells the host, and starts its task.
pub(crate) fn open(shard: ShardRef, stream: TcpStream, early: Bytes, uuid: Uuid, request: Request) {
    let id = uuid.id;
    {
        let mut state = shard.borrow_mut();
        let lane = state.shared.host.assign();
        state.insert(Client::new(uuid, lane, About::of(&request)));
        state.shared.counters(state.index).opened.add(1);
        log::debug!("{uuid} opened: {}", request.url);
        if request.protocol == HELLO {
            let text = Bytes::copy_from_slice(&uuid.encode());
            if state.shared.registry.reserve(id, text.len() + ENTRY_BYTES) == SendStatus::Ok {
                state.enqueue(id, MessageKind::Text, text);
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
    tokio::task::spawn_local(run(shard, stream, early, id));
}

async fn run(shard: ShardRef, stream: TcpStream, early: Bytes, id: SocketId) {
    // However this task ends, its Close is told: by a panic or the end of the runtime too.
    let guard = EndGuard { shard, id };
    let shared = std::sync::Arc::clone(&guard.shard.borrow().shared);
    let config = &shared.config;
    let settings = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(ENGINE_BYTES)
        .max_message_size(Some(config.max_payload))
        .max_frame_size(Some(config.max_payload));
    let engine =
        WebSocketStream::from_partially_read(stream, early.into(), Role::Server, Some(settings))
            .await;
    let mut connection = Connection {
        engine,
        id,
        in_engine: 0,
        pongs: 0,
        dirty: false,
        maybe_more: true,
        closing: None,
    };
    let outcome = poll_fn(|cx| connection.poll(cx, &guard.shard)).await;
    {
        let mut state = guard.shard.borrow_mut();
        state.shared.registry.unreserve(id, connection.in_engine);
        state.end(id, outcome.info);
    }
    if outcome.linger {
        let mut engine = connection.engine;
        // The Close frame that tells the client why.
        let flush = poll_fn(|cx| Pin::new(&mut engine).poll_flush(cx));
        if let Ok(Ok(())) = timeout(config.close_timeout, flush).await {
            linger(engine.into_inner(), config).await;
        }
    }
}

/// Tells the shard of the end, if nobody did before.
struct EndGuard {
    shard: ShardRef,
    id: SocketId,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        // A panic inside of a borrow has released it while unwinding.
        let Ok(mut shard) = self.shard.try_borrow_mut() else { return };
        let (code, reason) =
            if std::thread::panicking() { (1011, "the server failed") } else { (1006, "") };
        let info = CloseInfo { code, reason: reason.to_owned(), was_clean: false };
        // A host that panics again, now that the first panic unwinds, would end the process.
        let told = catch_unwind(AssertUnwindSafe(|| shard.end(self.id, info)));
        if told.is_err() {
            log::error!("the host panicked at a Close");
        }
        shard.connection_ended();
    }
}

/// How a connection's task ends.
struct Outcome {
    info: CloseInfo,
    /// The client is to be given time to read our last frame: a close with unread bytes would destroy it on its way.
    linger: bool,
}

struct Connection {
    engine: WebSocketStream<TcpStream>,
    id: SocketId,
    /// Reserved bytes that the engine holds.
    in_engine: usize,
    /// Bytes of the engine's own answers to pings since the last flush.
    pongs: usize,
    /// The engine holds something that is not flushed.
    dirty: bool,
    /// The engine may hold frames that were read together with others.
    maybe_more: bool,
    /// Our Close was sent.
    closing: Option<CloseInfo>,
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
        if let Some((info, deadline)) = &client.closing
            && Instant::now() >= *deadline
        {
            // Time is up: the connection is cut without the client's Close.
            return Poll::Ready(Outcome { info: info.clone(), linger: false });
        }
        if let Poll::Ready(outcome) = self.write(cx, shard) {
            return Poll::Ready(outcome);
        }
        let outcome = self.read(cx, shard);
        shard.relay.flush();
        outcome
    }

    /// Gives the engine what is queued, and the system what the engine holds.
    fn write(&mut self, cx: &mut Context<'_>, shard: &mut Shard) -> Poll<Outcome> {
        loop {
            if self.feed(shard).is_err() {
                return Poll::Ready(self.broken());
            }
            if !self.dirty {
                return Poll::Pending;
            }
            match Pin::new(&mut self.engine).poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(self.broken()),
                Poll::Ready(Ok(())) => {
                    self.dirty = false;
                    self.pongs = 0;
                    let sent = std::mem::take(&mut self.in_engine);
                    if shard.shared.registry.unreserve(self.id, sent) {
                        shard.deliver(self.id, Pending::Drain);
                    }
                }
            }
        }
    }

    fn feed(&mut self, shard: &mut Shard) -> Result<(), WsError> {
        let shared = std::sync::Arc::clone(&shard.shared);
        let counters = shared.counters(shard.index);
        let Some(client) = shard.client(self.id) else { return Ok(()) };
        if self.closing.is_some() {
            return Ok(());
        }
        let (mut messages, mut bytes) = (0, 0);
        while self.in_engine < ENGINE_BYTES {
            let Some(message) = client.out.pop_front() else { break };
            messages += 1;
            bytes += message.bytes.len();
            self.in_engine += message.bytes.len() + ENTRY_BYTES;
            // As a frame: text was checked when it was taken.
            self.give(Message::Frame(frame(message)))?;
        }
        if messages > 0 {
            counters.messages_out.add(messages);
            counters.bytes_out.add(bytes);
        }
        if client.out.is_empty() {
            client.out.shrink_to_fit();
            if std::mem::take(&mut client.ping_due) {
                self.give(Message::Ping(Bytes::new()))?;
            }
            if let Some((info, _)) = &client.closing {
                self.closing = Some(info.clone());
                self.give(Message::Close(Some(close_frame(info))))?;
            }
        }
        Ok(())
    }

    fn give(&mut self, message: Message) -> Result<(), WsError> {
        self.dirty = true;
        Pin::new(&mut self.engine).start_send(message)
    }

    /// Reads for one turn.
    fn read(&mut self, cx: &mut Context<'_>, shard: &mut Shard) -> Poll<Outcome> {
        let (mut messages, mut bytes) = (0, 0);
        let now = Instant::now();
        loop {
            if !self.may_read(shard) {
                return Poll::Pending;
            }
            // The engine clears its buffer before each read, also before one that finds nothing: ask first.
            if !self.maybe_more && self.engine.get_ref().poll_read_ready(cx).is_pending() {
                return Poll::Pending;
            }
            let next = match Pin::new(&mut self.engine).poll_next(cx) {
                Poll::Pending => {
                    self.maybe_more = false;
                    return Poll::Pending;
                }
                Poll::Ready(next) => next,
            };
            self.maybe_more = true;
            if let Some(client) = shard.client(self.id) {
                client.last_read = now;
            }
            match next {
                Some(Ok(message)) => {
                    bytes += message.len();
                    messages += 1;
                    if let Some(outcome) = self.receive(cx, shard, message) {
                        return Poll::Ready(outcome);
                    }
                }
                Some(Err(error)) => return Poll::Ready(self.fail(shard, &error)),
                None => return Poll::Ready(self.broken()),
            }
            if messages >= TURN_MESSAGES || bytes >= TURN_BYTES {
                // The others' turn; this one comes back after them.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Whether the socket's queue has room. While it is closing nothing is queued any more, and its Close is awaited.
    fn may_read(&self, shard: &mut Shard) -> bool {
        if self.closing.is_some() {
            return true;
        }
        // A client that does not take the answers to its pings may not ask for more.
        if self.pongs >= ENGINE_BYTES {
            return false;
        }
        let waiting = shard.shared.inbound.load(std::sync::atomic::Ordering::Relaxed);
        let Some(client) = shard.client(self.id) else { return false };
        let may = client.may_read(waiting);
        client.paused = !may;
        may
    }

    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        shard: &mut Shard,
        message: Message,
    ) -> Option<Outcome> {
        match message {
            Message::Text(text) if self.closing.is_none() => {
                let kind = MessageKind::Text;
                self.count(shard, text.len());
                self.relay(shard, kind, || Bytes::copy_from_slice(text.as_str().as_bytes()));
                shard.deliver_message(self.id, EventKind::Text(text.as_str()));
            }
            Message::Binary(data) if self.closing.is_none() => {
                self.count(shard, data.len());
                self.relay(shard, MessageKind::Binary, || Bytes::copy_from_slice(&data));
                shard.deliver_message(self.id, EventKind::Binary(&data));
            }
            Message::Close(frame) => {
                // The engine has queued its answer; what still waited to be sent is given up.
                let _ = Pin::new(&mut self.engine).poll_flush(cx);
                let info = match (self.closing.take(), frame) {
                    (Some(ours), _) => CloseInfo { was_clean: true, ..ours },
                    (None, Some(frame)) => CloseInfo {
                        code: frame.code.into(),
                        reason: frame.reason.as_str().to_owned(),
                        was_clean: true,
                    },
                    (None, None) => {
                        CloseInfo { code: 1005, reason: String::new(), was_clean: true }
                    }
                };
                return Some(Outcome { info, linger: true });
            }
            // Answered by the engine, which keeps what the system does not take: the flush is ours.
            Message::Ping(data) => {
                self.pongs += data.len() + ENTRY_BYTES;
                self.dirty = true;
            }
            // Pongs have set `last_read`; data after our Close is ignored.
            _ => {}
        }
        None
    }

    fn count(&self, shard: &Shard, bytes: usize) {
        let counters = shard.shared.counters(shard.index);
        counters.messages_in.add(1);
        counters.bytes_in.add(bytes);
    }

    fn relay(&self, shard: &mut Shard, kind: MessageKind, bytes: impl FnOnce() -> Bytes) {
        if shard.shared.config.broadcast {
            shard.relay.share(&Receivers::All, kind, bytes(), Some(self.id));
        }
    }

    /// A fault of the client, or the end of its connection.
    fn fail(&mut self, shard: &Shard, error: &WsError) -> Outcome {
        let code = match error {
            WsError::Capacity(_) => 1009,
            WsError::Utf8(_) => 1007,
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return self.broken(),
            WsError::Protocol(_) => 1002,
            _ => return self.broken(),
        };
        shard.shared.counters(shard.index).faults.add(1);
        let mut reason = error.to_string();
        while reason.len() > MAX_REASON {
            reason.pop();
        }
        let info = CloseInfo { code, reason, was_clean: false };
        // Already closing: its fault changes nothing about why.
        if let Some(ours) = self.closing.take() {
            return Outcome { info: ours, linger: true };
        }
        // If the engine cannot take it, the connection just ends.
        let _ = self.give(Message::Close(Some(close_frame(&info))));
        Outcome { info, linger: true }
    }

    /// The connection is gone without a Close frame of the client.
    fn broken(&mut self) -> Outcome {
        let info = self.closing.take().unwrap_or(CloseInfo {
            code: 1006,
            reason: String::new(),
            was_clean: false,
        });
        Outcome { info, linger: false }
    }
}

fn frame(Outgoing { kind, bytes }: Outgoing) -> Frame {
    match kind {
        MessageKind::Text => Frame::message(bytes, OpCode::Data(Data::Text), true),
        MessageKind::Binary => Frame::message(bytes, OpCode::Data(Data::Binary), true),
        MessageKind::Ping => Frame::ping(bytes),
        MessageKind::Pong => Frame::pong(bytes),
    }
}

fn close_frame(info: &CloseInfo) -> CloseFrame {
    CloseFrame { code: info.code.into(), reason: info.reason.as_str().into() }
}
