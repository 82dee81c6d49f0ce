//! Handshakes that JavaScript decides about.
//!
//! They have a queue and a door-bell of their own beside the inboxes: an inbox may stand still, for a hook that takes no more
//! or for want of one, and clients must get their answers all the same. The thread that started the server answers.

use std::{
    collections::{HashMap, VecDeque},
    ffi::c_void,
    ptr,
};

use napi::{
    Env, JsValue, Unknown,
    bindgen_prelude::Uint8ArraySlice,
    sys::{self, napi_env},
};
use napi_derive::napi;
use pocketsocket::{Asked, Reply, Verdict};

use crate::{
    instance,
    js::Doorbell,
    slab::request_to_text,
    sync::{Mutex, MutexGuard, lock},
};

/// Handshakes a call: others of the thread have their turn after them.
const TURN: usize = 64;
/// Replies of which none is looked through for those that nobody waits for any more.
const FEW: usize = 1024;

/// Where the questions lie.
struct Desk {
    /// Who answers: the environment's address, and its door-bell.
    owner: Option<(usize, Doorbell)>,
    waiting: VecDeque<Asked>,
    /// The door-bell was rung, and JavaScript has not found the queue empty since.
    rung: bool,
    /// What JavaScript was asked and has not answered.
    replies: HashMap<u32, Reply>,
    next: u32,
    /// So many replies make it look for those that nobody waits for.
    look_at: usize,
}

static DESK: Mutex<Option<Desk>> = Mutex::new(None);

fn desk() -> MutexGuard<'static, Option<Desk>> {
    lock(&DESK)
}

/// The thread of `env` answers from now on, if it has said how.
pub fn open(env: napi_env) {
    let owner = instance::of(env)
        .and_then(|instance| instance.authorizer.get())
        // SAFETY: the handle is of a door-bell that lives until `leave` has run.
        .map(|handle| (env as usize, unsafe { Doorbell::from_handle(handle) }));
    *desk() = Some(Desk {
        owner,
        waiting: VecDeque::new(),
        rung: false,
        replies: HashMap::new(),
        next: 0,
        look_at: FEW,
    });
}

/// The server has ended: what waits is dropped, which answers it.
pub fn close() {
    // Dropped outside of the lock: it wakes the server's threads.
    let closed = desk().take();
    drop(closed);
}

/// A handshake waits for an answer; without somebody to give it it is dropped, which refuses it.
pub fn ask(asked: Asked) {
    let mut desk = desk();
    let Some(Desk { owner: Some((_, doorbell)), waiting, rung, .. }) = &mut *desk else { return };
    waiting.push_back(asked);
    if !std::mem::replace(rung, true) {
        doorbell.ring();
    }
}

impl Desk {
    /// Takes the next question whose client is still there.
    fn take(&mut self) -> Option<(u32, String)> {
        loop {
            let asked = self.waiting.pop_front()?;
            if asked.is_gone() {
                continue;
            }
            let text = request_to_text(asked.request(), "");
            let id = self.next;
            self.next = self.next.wrapping_add(1);
            self.replies.insert(id, asked.into_reply());
            if self.replies.len() >= self.look_at {
                // Promises that never settle must not pile up: their clients have had their 503.
                self.replies.retain(|_, reply| !reply.is_gone());
                self.look_at = FEW.max(2 * self.replies.len());
            }
            return Some((id, text));
        }
    }
}

/// A question for JavaScript.
#[napi(object)]
pub struct Question {
    /// To answer by.
    pub id: u32,
    /// The request, as a Connect's.
    pub text: String,
}

/// Gives the calling thread a door-bell for handshakes; does nothing the second time.
#[napi]
pub fn attach_authorizer(env: Env, answer: Unknown<'_>) -> napi::Result<()> {
    let refused = || napi::Error::from_reason("Node-API refused a value");
    let instance = instance::of(env.raw()).ok_or_else(refused)?;
    if instance.authorizer.get().is_some() {
        return Ok(());
    }
    // SAFETY: index.ts gives a function, live in this call.
    let doorbell = unsafe { Doorbell::new(env.raw(), answer.raw()) }.ok_or_else(refused)?;
    instance.authorizer.set(Some(doorbell.handle()));
    // SAFETY: registered after the door-bell was made, so it runs before Node-API ends the door-bell.
    unsafe {
        sys::napi_add_env_cleanup_hook(env.raw(), Some(leave), env.raw().cast::<c_void>());
    }
    Ok(())
}

/// The thread of the environment ends: nothing rings it any more, and what it was asked is refused.
unsafe extern "C" fn leave(env: *mut c_void) {
    let mut desk = desk();
    let own = desk.as_mut().filter(|desk| {
        desk.owner.as_ref().is_some_and(|(owner, _)| ptr::eq(*owner as *const c_void, env))
    });
    let Some(own) = own else { return };
    own.owner = None;
    let left = (std::mem::take(&mut own.waiting), std::mem::take(&mut own.replies));
    drop(desk);
    drop(left);
}

/// The next handshakes to decide about, at most 64; after an empty answer the door-bell rings for more.
#[napi]
pub fn take_questions(env: Env) -> Vec<Question> {
    let mut desk = desk();
    let Some(desk) = &mut *desk else { return Vec::new() };
    if desk.owner.as_ref().is_none_or(|(owner, _)| *owner != env.raw() as usize) {
        return Vec::new();
    }
    let mut questions = Vec::new();
    while questions.len() < TURN
        && let Some((id, text)) = desk.take()
    {
        questions.push(Question { id, text });
    }
    if questions.is_empty() {
        desk.rung = false;
    }
    questions
}

fn answer(id: u32, verdict: Verdict) {
    let reply = desk().as_mut().and_then(|desk| desk.replies.remove(&id));
    if let Some(reply) = reply {
        reply.send(verdict);
    }
}

/// Opens the socket. Without `protocol` the first that was offered is agreed on.
#[napi]
pub fn accept(id: u32, protocol: Option<String>, data: String) {
    answer(id, Verdict::Accept { protocol, data });
}

/// Answers with a status; `headers` are names and values in turn.
#[napi]
pub fn refuse(id: u32, status: u32, headers: Vec<String>, body: Uint8ArraySlice<'_>) {
    let mut texts = headers.into_iter();
    let mut headers = Vec::new();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        headers.push((name, value));
    }
    let status = u16::try_from(status).unwrap_or(0);
    answer(id, Verdict::Refuse { status, headers, body: body.to_vec() });
}

/// JavaScript has failed over it.
#[napi]
pub fn fail(id: u32) {
    answer(id, Verdict::Failed);
}
