//! The hot calls: from JavaScript into the thread's outbox, in one pass and without allocating.
//!
//! `index.ts` has checked kinds and types; what is found wrong here all the same is thrown, never trusted.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use napi::sys::{napi_callback_info, napi_env, napi_value};
use pocketsocket::{
    InvalidMessage, MessageKind, Outbox, SendStatus, SocketId, Uuid, check_message,
};

use crate::{
    instance::{self, Instance},
    js::{Call, Class, number, throw},
};

/// What a send came to, or what is wrong with it.
enum Refused {
    NotBytes,
    NotAKind,
    Invalid(InvalidMessage),
}

impl Refused {
    fn throw(self, env: napi_env) -> napi_value {
        match self {
            Self::NotBytes => throw(
                env,
                Class::TypeError,
                "ERR_INVALID_DATA",
                "data must be a string, an ArrayBuffer, an ArrayBufferView or an event",
            ),
            Self::NotAKind => throw(
                env,
                Class::RangeError,
                "ERR_INVALID_KIND",
                "kind must be 1 (text), 2 (binary), 9 (ping) or 10 (pong)",
            ),
            Self::Invalid(error @ InvalidMessage::NotUtf8) => {
                throw(env, Class::TypeError, "ERR_INVALID_UTF8", &error.to_string())
            }
            Self::Invalid(error) => {
                throw(env, Class::RangeError, "ERR_MESSAGE_TOO_LONG", &error.to_string())
            }
        }
    }
}

/// Runs a call's body, and turns its outcome into a value. A panic must not unwind into Node-API.
fn answer(env: napi_env, body: impl FnOnce() -> Result<SendStatus, Refused>) -> napi_value {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => number(env, status as u32),
        Ok(Err(refused)) => refused.throw(env),
        Err(_) => throw(env, Class::Error, "ERR_PANICKED", "the addon failed; please report this"),
    }
}

/// Writes a data argument into place. Gives whether it was text, which is UTF-8 by construction.
fn append<const N: usize>(call: &Call<N>, at: usize, bytes: &mut Vec<u8>) -> Option<bool> {
    if call.append_utf8(at, bytes) {
        return Some(true);
    }
    call.append_bytes(at, bytes).then_some(false)
}

fn to_one<const N: usize>(
    instance: &Instance,
    call: &Call<N>,
    id: SocketId,
    kind: u32,
    at: usize,
) -> Result<SendStatus, Refused> {
    let kind = message_kind(kind)?;
    let sent = instance.with_outbox(|outbox| {
        let mut form = None;
        let check = kind == MessageKind::Text;
        // A string needs no check: V8 has just encoded it.
        let write = |bytes: &mut Vec<u8>| {
            form = append(call, at, bytes);
            check && form == Some(false)
        };
        let status = outbox.send_with(id, kind, write);
        if form.is_none() { Err(Refused::NotBytes) } else { status.map_err(Refused::Invalid) }
    });
    sent.unwrap_or_else(|| without_server(call, at, kind, SendStatus::Unknown))
}

/// An argument is wrong or it is not, with a server or without.
fn without_server<const N: usize>(
    call: &Call<N>,
    at: usize,
    kind: MessageKind,
    status: SendStatus,
) -> Result<SendStatus, Refused> {
    let mut data = Vec::new();
    let is_text = append(call, at, &mut data).ok_or(Refused::NotBytes)?;
    check_message(kind, &data, kind == MessageKind::Text && !is_text).map_err(Refused::Invalid)?;
    Ok(status)
}

fn message_kind(kind: u32) -> Result<MessageKind, Refused> {
    u8::try_from(kind).ok().and_then(MessageKind::from_opcode).ok_or(Refused::NotAKind)
}

/// Reads a uuid argument; `None` if it is none of a server.
fn uuid<const N: usize>(call: &Call<N>, at: usize) -> Option<Uuid> {
    // One byte more than a uuid, to see that it is no longer, and the NUL.
    let mut text = [0; 38];
    let len = call.latin1(at, &mut text)?;
    Uuid::parse(&text[..len]).ok()
}

/// `send(slot, generation, kind, data)`: to the socket whose event is being handled.
pub unsafe extern "C" fn send(env: napi_env, info: napi_callback_info) -> napi_value {
    // SAFETY: values of the running callback; the data is the instance.
    let (call, instance) = unsafe { open::<4>(env, info) };
    let id = SocketId { slot: call.u32(0), generation: call.u32(1) };
    answer(env, || to_one(instance, &call, id, call.u32(2), 3))
}

/// `sendTo(uuid, kind, data)`: to any socket.
pub unsafe extern "C" fn send_to(env: napi_env, info: napi_callback_info) -> napi_value {
    // SAFETY: as in `send`.
    let (call, instance) = unsafe { open::<3>(env, info) };
    answer(env, || {
        let uuid = uuid(&call, 0);
        let id = uuid.and_then(|uuid| instance.with_outbox(|outbox| outbox.resolve(uuid))?);
        match (id, uuid) {
            (None, Some(uuid))
                if instance.with_outbox(|outbox| outbox.is_remote(uuid)) == Some(true) =>
            {
                to_many(instance, &call, 1, 2, |outbox, kind, data| {
                    outbox.send_remote(uuid, kind, data)
                })
            }
            // An unknown socket's message is checked all the same: an argument is wrong or it is not.
            _ => {
                let id = id.unwrap_or(SocketId { slot: u32::MAX, generation: 0 });
                to_one(instance, &call, id, call.u32(1), 2)
            }
        }
    })
}

/// `sendAll(kind, data, originUuid?)`.
pub unsafe extern "C" fn send_all(env: napi_env, info: napi_callback_info) -> napi_value {
    // SAFETY: as in `send`.
    let (call, instance) = unsafe { open::<3>(env, info) };
    answer(env, || {
        let origin = uuid(&call, 2);
        to_many(instance, &call, 0, 1, |outbox, kind, data| outbox.send_all(kind, data, origin))
    })
}

/// `publish(topic, kind, data, originUuid?)`.
pub unsafe extern "C" fn publish(env: napi_env, info: napi_callback_info) -> napi_value {
    // SAFETY: as in `send`.
    let (call, instance) = unsafe { open::<4>(env, info) };
    answer(env, || {
        let mut topic = Vec::new();
        if !call.append_utf8(0, &mut topic) {
            return Err(Refused::NotBytes);
        }
        let topic = String::from_utf8_lossy(&topic);
        let origin = uuid(&call, 3);
        to_many(instance, &call, 1, 2, |outbox, kind, data| {
            outbox.publish(&topic, kind, data, origin)
        })
    })
}

/// `publishMany(topics, kind, data, originUuid?)`. The topics are one text: for each its length in bytes, a colon, its name.
pub unsafe extern "C" fn publish_many(env: napi_env, info: napi_callback_info) -> napi_value {
    // SAFETY: as in `send`.
    let (call, instance) = unsafe { open::<4>(env, info) };
    answer(env, || {
        let mut text = Vec::new();
        if !call.append_utf8(0, &mut text) {
            return Err(Refused::NotBytes);
        }
        let text = String::from_utf8_lossy(&text);
        let mut rest = &text[..];
        let topics = std::iter::from_fn(|| {
            let (len, after) = rest.split_once(':')?;
            let (topic, after) = after.split_at_checked(len.parse().ok()?)?;
            rest = after;
            Some(topic)
        });
        let origin = uuid(&call, 3);
        to_many(instance, &call, 1, 2, |outbox, kind, data| {
            outbox.publish_many(topics, kind, data, origin)
        })
    })
}

/// Characters of a uuid.
const UUID: usize = 36;

/// `sendMany(uuids, kind, data, statuses)`. The uuids are one text of 36 characters each; `statuses` is a Uint8Array with room
/// for one each, which is filled as [`SendStatus`].
pub unsafe extern "C" fn send_many(env: napi_env, info: napi_callback_info) -> napi_value {
    // SAFETY: as in `send`.
    let (call, instance) = unsafe { open::<4>(env, info) };
    answer(env, || {
        let mut text = Vec::new();
        let (true, Some((statuses, room))) = (call.append_utf8(0, &mut text), call.bytes(3)) else {
            return Err(Refused::NotBytes);
        };
        let mut told = vec![SendStatus::Unknown as u8; room];
        let status = to_many(instance, &call, 1, 2, |outbox, kind, data| {
            let uuids: Vec<_> =
                text.chunks_exact(UUID).take(room).map(|text| Uuid::parse(text).ok()).collect();
            let ids: Vec<_> =
                uuids.iter().map(|uuid| uuid.and_then(|uuid| outbox.resolve(uuid))).collect();
            let mut at = 0;
            outbox.send_many(ids, kind, data, |status| {
                told[at] = status as u8;
                at += 1;
            })?;
            for (told, uuid) in told.iter_mut().zip(uuids) {
                if let Some(uuid) = uuid.filter(|&uuid| outbox.is_remote(uuid)) {
                    *told = outbox.send_remote(uuid, kind, data)? as u8;
                }
            }
            Ok(SendStatus::Ok)
        })?;
        // SAFETY: the array has `room` bytes, and no JavaScript has run since it was asked.
        unsafe { ptr::copy_nonoverlapping(told.as_ptr(), statuses, room) };
        Ok(status)
    })
}

fn to_many<const N: usize>(
    instance: &Instance,
    call: &Call<N>,
    kind_at: usize,
    data_at: usize,
    share: impl FnOnce(&mut Outbox, MessageKind, &[u8]) -> Result<SendStatus, InvalidMessage>,
) -> Result<SendStatus, Refused> {
    let kind = message_kind(call.u32(kind_at))?;
    let mut data = Vec::new();
    append(call, data_at, &mut data).ok_or(Refused::NotBytes)?;
    match instance.with_outbox(|outbox| share(outbox, kind, &data)) {
        Some(status) => status.map_err(Refused::Invalid),
        // There is nobody to send to.
        None => without_server(call, data_at, kind, SendStatus::Ok),
    }
}

/// `flush()`: hands what was sent to the shards.
pub unsafe extern "C" fn flush(env: napi_env, info: napi_callback_info) -> napi_value {
    // SAFETY: as in `send`.
    let (_, instance) = unsafe { open::<0>(env, info) };
    let _ = catch_unwind(AssertUnwindSafe(|| instance.flush()));
    ptr::null_mut()
}

/// A call and the instance it is for.
///
/// # Safety
/// Values of the running callback of a function that `instance::create` exported.
unsafe fn open<const N: usize>(
    env: napi_env,
    info: napi_callback_info,
) -> (Call<N>, &'static Instance) {
    // SAFETY: the caller vouches for the values.
    unsafe {
        let call = Call::new(env, info);
        let instance = instance::from_data(call.data);
        (call, instance)
    }
}
