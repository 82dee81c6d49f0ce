//! From a thread's inbox to its hook: up to sixteen events a call of JavaScript, for up to 2 ms a turn of its event loop.
//!
//! JavaScript gets the texts as arguments and the rest through a Uint32Array of its own: `meta[0]` is the event that it
//! has begun, which it writes before each call of the hook; then four numbers an event: slot, generation, kind and flag,
//! length or close code. Buffers are allocated by JavaScript and filled by [`take`].

use std::{
    ptr,
    time::{Duration, Instant},
};

use napi::sys::{self, Status, napi_callback_info, napi_env, napi_value};
use pocketsocket::{Pending, Server, Uuid};

use crate::{
    bridge,
    inbox::{MAX_RECORDS, MIN_RECORDS},
    instance::{self, Instance, lane_of},
    js::{Call, number},
    slab::{FIELDS, Slab, kind},
    text::Form,
};

/// Events a call of JavaScript: `dispatch` in index.ts takes this many texts.
const GROUP: usize = 16;
/// Characters of a uuid.
const UUID: usize = 36;
/// Events a turn of the event loop, when the hook is fast: the door-bell's own call holds the loop no longer than this.
const TURN: usize = 1024;
/// Events after which what was sent is handed over, though more wait.
const FLUSH_AFTER: usize = 64;
/// How long a turn may take, when the hook is slow.
const TURN_TIME: Duration = Duration::from_millis(2);
/// A hook that takes no more than this an event is quick: a few of them are not worth a look at the clock.
const QUICK: f64 = 10_000.0;
/// What may wait in the inbox, as time of the hook.
const INBOX_TIME: Duration = Duration::from_millis(1);

/// The slab that a thread works through.
#[derive(Default)]
pub struct Draining {
    slab: Slab,
    /// The first record that was not begun.
    next: usize,
    /// Records from `next` on that JavaScript is working through.
    group: usize,
    /// What one event takes, in ns, smoothed.
    cost: f64,
}

impl Draining {
    /// Events that were not begun, for another thread; this one forgets them.
    pub fn give_up(
        &mut self,
        server: &Server,
        meta: *const u32,
        waiting: &mut Vec<(Uuid, Vec<Pending>)>,
    ) {
        let first = self.next + self.begun(meta);
        bridge::collect(server, &self.slab, first, waiting);
        // Those of the group that were begun are still needed for their closes.
        self.slab.records.truncate(first);
    }

    /// How many records of the group JavaScript has begun.
    fn begun(&self, meta: *const u32) -> usize {
        if self.group == 0 {
            return 0;
        }
        // SAFETY: `meta` is the memory of the array that the instance keeps alive, on its own thread.
        let last = unsafe { meta.read() };
        (last.wrapping_add(1) as usize).min(self.group)
    }

    /// Kinds of records that were not begun and are for this thread alone.
    pub fn own_records(&self, meta: *const u32) -> Vec<u8> {
        self.slab.own_records(self.next + self.begun(meta))
    }

    /// Goes on behind a group that could not be delivered: else no turn would begin any more. Gives that more may wait.
    fn skip_group(&mut self) -> bool {
        self.next = (self.next + self.group).min(self.slab.records.len());
        self.group = 0;
        true
    }

    /// How many messages the inbox may hold.
    fn limit(&self) -> usize {
        if self.cost <= 0.0 {
            return MIN_RECORDS;
        }
        ((INBOX_TIME.as_nanos() as f64 / self.cost) as usize).clamp(MIN_RECORDS, MAX_RECORDS)
    }

    /// How many events the next call gets: fewer when each takes long, so that the turn ends in time.
    fn next_group(&self) -> usize {
        let in_time = if self.cost > 0.0 {
            ((TURN_TIME.as_nanos() as f64 / self.cost) as usize).max(1)
        } else {
            GROUP
        };
        (self.slab.records.len() - self.next).min(GROUP).min(in_time)
    }

    fn measured(&mut self, events: usize, took: Duration) {
        let each = took.as_nanos() as f64 / events as f64;
        self.cost = if self.cost > 0.0 { self.cost * 0.875 + each * 0.125 } else { each };
    }
}

/// `drain()`: delivers events. Gives 1 if more wait, else 0.
pub unsafe extern "C" fn drain(env: napi_env, info: napi_callback_info) -> napi_value {
    // SAFETY: values of the running callback; the data is the instance.
    let instance = unsafe { instance::from_data(Call::<0>::new(env, info).data) };
    // A panic must not unwind into Node-API.
    let more = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| turn(instance)));
    number(env, u32::from(more.unwrap_or_else(|_| instance.draining.borrow_mut().skip_group())))
}

/// One turn; true if more waits.
fn turn(instance: &'static Instance) -> bool {
    let Some(attached) = instance.attached.get() else { return false };
    // A hook that runs an event loop of its own (a debugger does) must not start a second turn inside of the first.
    if instance.draining.borrow().group > 0 {
        return false;
    }
    let started = Instant::now();
    let (mut handled, mut unflushed) = (0, 0);
    loop {
        if !refill(instance) {
            instance.flush();
            // What came while we flushed rings again, or is seen here.
            return !attached.inbox().sleep();
        }
        let before = Instant::now();
        let Some((count, full)) = group(instance, attached) else {
            return false;
        };
        handled += count;
        let took = before.elapsed();
        if count > 0 || !full {
            let mut draining = instance.draining.borrow_mut();
            draining.measured(count.max(1), took);
        }
        if instance.attached.get().is_none() {
            return false;
        }
        if full {
            // JavaScript goes on by itself once promises of its hook have settled.
            instance.flush();
            return false;
        }
        unflushed += count;
        if unflushed >= FLUSH_AFTER {
            // The shards work on the first answers while the hook goes on.
            unflushed = 0;
            instance.flush();
        } else {
            instance.with_outbox(pocketsocket::Outbox::flush_if_due);
        }
        if handled >= TURN || started.elapsed() >= TURN_TIME {
            instance.flush();
            return true;
        }
    }
}

/// Takes the next slab if the last is done; false if there is nothing.
fn refill(instance: &Instance) -> bool {
    let Some(attached) = instance.attached.get() else { return false };
    let refused = {
        let mut draining = instance.draining.borrow_mut();
        if draining.next < draining.slab.records.len() {
            return true;
        }
        draining.slab.clear();
        draining.next = 0;
        let limit = draining.limit();
        attached.inbox().swap(&mut draining.slab, limit)
    };
    if refused && let Some(server) = bridge::server() {
        server.room(lane_of(attached));
    }
    !instance.draining.borrow().slab.records.is_empty()
}

/// Gives JavaScript one group. Gives how many events it began, and whether it takes no more for now; `None` if it is being
/// terminated.
fn group(instance: &'static Instance, attached: instance::Attached) -> Option<(usize, bool)> {
    let env = instance.env;
    let mut scope = ptr::null_mut();
    // SAFETY: inside of a callback on the environment's thread.
    unsafe { sys::napi_open_handle_scope(env, &mut scope) };
    let mut args = [ptr::null_mut(); GROUP + 1];
    let count = {
        let mut draining = instance.draining.borrow_mut();
        let count = draining.next_group();
        draining.group = count;
        let mut group = draining.slab.records[draining.next..][..count].iter();
        // From its first Connect on the thread needs the server, for the names of sockets and for their ends.
        if instance.serving.borrow().is_none() && group.any(|record| record.kind == kind::CONNECT) {
            *instance.serving.borrow_mut() = bridge::server();
        }
        let quick = draining.cost > 0.0 && draining.cost < QUICK;
        instance.with_outbox(|outbox| outbox.set_quick(quick));
        prepare(env, &draining, attached, &mut args);
        count
    };
    let mut full = false;
    let status = {
        let mut result = ptr::null_mut();
        let mut receiver = ptr::null_mut();
        // SAFETY: live values of this scope; no borrow is held while JavaScript runs.
        unsafe {
            sys::napi_get_undefined(env, &mut receiver);
            let dispatch = attached.dispatch(env);
            let status = sys::napi_call_function(
                env,
                receiver,
                dispatch,
                count + 1,
                args.as_ptr(),
                &mut result,
            );
            if status == Status::napi_ok {
                // Not a boolean, but undefined, if all were taken.
                sys::napi_get_value_bool(env, result, &mut full);
            }
            status
        }
    };
    instance.with_outbox(|outbox| outbox.set_quick(false));
    let begun = {
        let mut draining = instance.draining.borrow_mut();
        let begun = draining.begun(attached.meta);
        draining.group = 0;
        let first = draining.next;
        let last = (first + begun).min(draining.slab.records.len());
        draining.next = last;
        settle(instance, &draining.slab, first, last);
        last - first
    };
    // SAFETY: opened above.
    unsafe { sys::napi_close_handle_scope(env, scope) };
    // `dispatch` lets no exception of a hook out: this is the end of the thread.
    (status == Status::napi_ok).then_some((begun, full))
}

/// Writes the group into `meta`, and its texts into `args`.
fn prepare(
    env: napi_env,
    draining: &Draining,
    attached: instance::Attached,
    args: &mut [napi_value; GROUP + 1],
) {
    args[0] = number(env, draining.group as u32);
    let slab = &draining.slab;
    let records = &slab.records[draining.next..draining.next + draining.group];
    debug_assert!(attached.meta_len > FIELDS * GROUP);
    // None begun: JavaScript may end before it begins the first.
    // SAFETY: as below.
    unsafe { attached.meta.write(u32::MAX) };
    for (at, record) in records.iter().enumerate() {
        let fields = record.fields();
        // SAFETY: index.ts makes the array with 1 + 4 * 16 elements; it is kept alive, and JavaScript is not running.
        unsafe {
            ptr::copy_nonoverlapping(fields.as_ptr(), attached.meta.add(1 + at * FIELDS), FIELDS);
        };
        let value = &mut args[at + 1];
        // SAFETY: each pointer is given with the length of what it points to.
        unsafe {
            if record.kind == kind::BINARY {
                sys::napi_get_undefined(env, value);
                continue;
            }
            match slab.form(record) {
                Form::Latin1(text) => {
                    sys::napi_create_string_latin1(
                        env,
                        text.as_ptr().cast(),
                        text.len() as isize,
                        value,
                    );
                }
                Form::Utf16(text) => {
                    sys::napi_create_string_utf16(env, text.as_ptr(), text.len() as isize, value);
                }
            }
            if value.is_null() {
                // Longer than V8's strings can be, far above any limit: better no text than no event.
                sys::napi_get_undefined(env, value);
            }
        }
    }
}

/// What follows once JavaScript was told.
fn settle(instance: &Instance, slab: &Slab, first: usize, last: usize) {
    for record in &slab.records[first..last] {
        match record.kind {
            kind::CLOSE => {
                let serving = instance.serving.borrow();
                if let Some(server) = serving.as_ref() {
                    server.release(record.id);
                }
            }
            kind::STOPPED => {
                *instance.serving.borrow_mut() = None;
                bridge::finish_one();
            }
            _ => {}
        }
    }
}

/// `uuid(index)`: the uuid of the socket of the group's event. For a Connect too it is a string of its own: a part of the
/// request's text would keep all of that alive as long as the hook keeps the uuid.
pub unsafe extern "C" fn uuid(env: napi_env, info: napi_callback_info) -> napi_value {
    // SAFETY: values of the running callback; the data is the instance.
    let call = unsafe { Call::<1>::new(env, info) };
    // SAFETY: as above.
    let instance = unsafe { instance::from_data(call.data) };
    let draining = instance.draining.borrow();
    let at = draining.next + call.u32(0) as usize;
    let text = draining.slab.records.get(at).and_then(|record| match record.kind {
        // Its slot may be another's already: the text has it.
        kind::CONNECT => draining.slab.ascii::<UUID>(record),
        _ => Some(instance.serving.borrow().as_ref()?.uuid(record.id)?.encode()),
    });
    let mut value = ptr::null_mut();
    if let Some(text) = text {
        // SAFETY: the text is given with its length.
        unsafe {
            sys::napi_create_string_latin1(env, text.as_ptr().cast(), UUID as isize, &mut value)
        };
    }
    value
}

/// `take(index, into)`: copies the bytes of the group's event into a Uint8Array of their length.
pub unsafe extern "C" fn take(env: napi_env, info: napi_callback_info) -> napi_value {
    // SAFETY: values of the running callback; the data is the instance.
    let call = unsafe { Call::<2>::new(env, info) };
    // SAFETY: as above.
    let instance = unsafe { instance::from_data(call.data) };
    let Some((into, room)) = call.bytes(1) else { return ptr::null_mut() };
    let draining = instance.draining.borrow();
    let at = draining.next + call.u32(0) as usize;
    if let Some(record) = draining.slab.records.get(at).filter(|record| record.kind == kind::BINARY)
    {
        let bytes = &draining.slab.bytes[record.start..record.start + record.len];
        // SAFETY: the array has `room` bytes, of which no more than the record's are written.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), into, bytes.len().min(room)) };
    }
    ptr::null_mut()
}
