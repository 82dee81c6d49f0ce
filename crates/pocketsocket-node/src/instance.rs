//! One JavaScript thread that has loaded the addon: its inbox, its outbox, and what it is working on.
//!
//! The instance is leaked to JavaScript's functions as a pointer and freed when the environment ends. JavaScript runs in
//! the middle of a drain and calls back in, so everything that changes is behind a `Cell` or `RefCell`, and no borrow is
//! held while JavaScript runs.

use std::{
    cell::{Cell, RefCell},
    ffi::c_void,
    ptr,
};

use napi::{
    JsValue,
    bindgen_prelude::Object,
    sys::{self, Status, napi_env, napi_ref, napi_value},
};
use pocketsocket::{Lane, Outbox, Server};

use crate::{
    bridge,
    drain::{self, Draining},
    inbox::{INBOXES, Inbox},
    js::{Doorbell, export},
    send,
    slab::{Slab, kind},
};

/// What a JavaScript thread has of the addon.
pub struct Instance {
    pub env: napi_env,
    /// Which inbox is its own, once it has hooked or started a server.
    pub attached: Cell<Option<Attached>>,
    pub draining: RefCell<Draining>,
    /// Its queue of commands, for the server of `epoch`.
    outbox: RefCell<Option<Outbox>>,
    epoch: Cell<u32>,
    /// The server whose events it handles: changes in line with the events.
    pub serving: RefCell<Option<Server>>,
    pub hooked: Cell<bool>,
    /// It keeps its thread alive.
    kept: Cell<bool>,
    /// Its door-bell for handshakes, once it has one.
    pub authorizer: Cell<Option<sys::napi_threadsafe_function>>,
}

/// The values that a thread gave for the delivery of events.
#[derive(Clone, Copy)]
pub struct Attached {
    pub lane: usize,
    doorbell: sys::napi_threadsafe_function,
    dispatch: napi_ref,
    /// Keeps the memory of `meta` alive.
    _meta: napi_ref,
    /// The memory of the Uint32Array through which both sides tell each other about a group of events.
    pub meta: *mut u32,
    pub meta_len: usize,
    main: bool,
}

impl Attached {
    pub fn inbox(&self) -> &'static Inbox {
        &INBOXES[self.lane]
    }

    /// The function that takes a group of events.
    ///
    /// # Safety
    /// On the thread of `env`, inside of a callback.
    pub unsafe fn dispatch(&self, env: napi_env) -> napi_value {
        let mut value = ptr::null_mut();
        // SAFETY: the reference lives as long as the environment.
        unsafe { sys::napi_get_reference_value(env, self.dispatch, &mut value) };
        value
    }
}

thread_local! {
    /// The instances of this thread, by environment: usually one.
    static INSTANCES: RefCell<Vec<&'static Instance>> = const { RefCell::new(Vec::new()) };
}

/// Makes the instance of an environment and exports the hot functions.
pub fn create(env: napi_env, exports: Object<'_>) -> napi::Result<()> {
    // The server's threads run this code after the last environment that loaded it has ended.
    napi::bindgen_prelude::retain_current_module_for_unload_safety();
    let instance = Box::leak(Box::new(Instance {
        env,
        attached: Cell::new(None),
        draining: RefCell::new(Draining::default()),
        outbox: RefCell::new(None),
        epoch: Cell::new(u32::MAX),
        serving: RefCell::new(None),
        hooked: Cell::new(false),
        kept: Cell::new(false),
        authorizer: Cell::new(None),
    }));
    let data = ptr::from_ref::<Instance>(instance).cast_mut().cast::<c_void>();
    INSTANCES.with_borrow_mut(|instances| instances.push(instance));
    let exports = exports.value().value;
    // SAFETY: both values are of the running registration; the instance outlives the environment's last call.
    unsafe {
        export(env, exports, c"drain", drain::drain, data);
        export(env, exports, c"take", drain::take, data);
        export(env, exports, c"uuid", drain::uuid, data);
        export(env, exports, c"send", send::send, data);
        export(env, exports, c"sendTo", send::send_to, data);
        export(env, exports, c"sendAll", send::send_all, data);
        export(env, exports, c"publish", send::publish, data);
        export(env, exports, c"publishMany", send::publish_many, data);
        export(env, exports, c"sendMany", send::send_many, data);
        export(env, exports, c"flush", send::flush, data);
        // Registered here, so it runs after the hook that `attach` registers.
        sys::napi_add_env_cleanup_hook(env, Some(destroy), data);
    }
    Ok(())
}

/// The instance of a macro-made call.
pub fn of(env: napi_env) -> Option<&'static Instance> {
    INSTANCES
        .with_borrow(|instances| instances.iter().copied().find(|instance| instance.env == env))
}

/// The instance behind a raw function's data.
///
/// # Safety
/// `data` is what [`create`] gave to [`export`], on the thread of its environment.
pub unsafe fn from_data(data: *mut c_void) -> &'static Instance {
    // SAFETY: the caller vouches for it; the instance is freed after the environment's last call.
    unsafe { &*data.cast::<Instance>() }
}

impl Instance {
    /// Gives the thread an inbox with its door-bell.
    ///
    /// # Errors
    /// All inboxes are taken, or Node-API refused.
    ///
    /// # Safety
    /// The values are of the running callback: two functions and a Uint32Array.
    pub unsafe fn attach(
        &'static self,
        pump: napi_value,
        dispatch: napi_value,
        meta: napi_value,
        main: bool,
    ) -> Result<(), &'static str> {
        const REFUSED: &str = "Node-API refused a value";
        if self.attached.get().is_some() {
            return Ok(());
        }
        let env = self.env;
        let (mut dispatch_ref, mut meta_ref) = (ptr::null_mut(), ptr::null_mut());
        let (mut memory, mut len) = (ptr::null_mut(), 0);
        // SAFETY: the caller vouches for the values; out-pointers are valid or null where not needed.
        let status = unsafe {
            sys::napi_create_reference(env, dispatch, 1, &mut dispatch_ref);
            sys::napi_create_reference(env, meta, 1, &mut meta_ref);
            sys::napi_get_typedarray_info(
                env,
                meta,
                ptr::null_mut(),
                &mut len,
                &mut memory,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if status != Status::napi_ok {
            return Err(REFUSED);
        }
        // SAFETY: the caller vouches for `pump`.
        let doorbell = unsafe { Doorbell::new(env, pump) }.ok_or(REFUSED)?;
        let handle = doorbell.handle();
        let mut doorbell = Some(doorbell);
        let free = (0..INBOXES.len()).find(|&lane| {
            !INBOXES[lane].is_owned()
                && doorbell.take().is_some_and(|bell| {
                    let claimed = INBOXES[lane].claim(bell);
                    if !claimed {
                        // Another thread was faster.
                        // SAFETY: the handle is the one made above.
                        doorbell = Some(unsafe { Doorbell::from_handle(handle) });
                    }
                    claimed
                })
        });
        let lane = free.ok_or("62 threads at most can use a server")?;
        self.attached.set(Some(Attached {
            lane,
            doorbell: handle,
            dispatch: dispatch_ref,
            _meta: meta_ref,
            meta: memory.cast(),
            meta_len: len,
            main,
        }));
        let data = ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: registered after the door-bell was made, so it runs before Node-API ends the door-bell.
        unsafe { sys::napi_add_env_cleanup_hook(env, Some(leave), data) };
        Ok(())
    }

    /// Whether the thread is kept alive by the server, or by its hook.
    pub fn keep_alive(&self, keep: bool) {
        let Some(attached) = self.attached.get() else { return };
        if self.kept.replace(keep) == keep {
            return;
        }
        // SAFETY: on the environment's thread, with its own live handle.
        unsafe {
            if keep {
                sys::napi_ref_threadsafe_function(self.env, attached.doorbell);
            } else {
                sys::napi_unref_threadsafe_function(self.env, attached.doorbell);
            }
        }
    }

    /// Runs `body` on the thread's outbox, if there is a server.
    pub fn with_outbox<R>(&self, body: impl FnOnce(&mut Outbox) -> R) -> Option<R> {
        let mut outbox = self.outbox.borrow_mut();
        let epoch = bridge::epoch();
        if self.epoch.replace(epoch) != epoch {
            *outbox = bridge::server().map(|server| server.outbox());
        }
        outbox.as_mut().map(body)
    }

    /// Hands what was sent to the shards.
    pub fn flush(&self) {
        if let Some(outbox) = &mut *self.outbox.borrow_mut() {
            outbox.flush();
        }
    }

    /// The hook came or went.
    pub fn set_hooked(&self, hooked: bool) {
        let Some(attached) = self.attached.get() else { return };
        if self.hooked.replace(hooked) == hooked {
            return;
        }
        if hooked {
            bridge::attach(attached.lane);
        } else {
            let slab = attached.inbox().set_hooked(false);
            // What was meant for the thread itself stays with it.
            for kind in self.hand_over(attached, &slab, true) {
                attached.inbox().notify(kind);
            }
        }
    }

    /// Gives the events that were not begun to others. Gives the kinds of records that were for this thread itself.
    fn hand_over(&self, attached: Attached, rest: &Slab, on_purpose: bool) -> Vec<u8> {
        let mut waiting = Vec::new();
        let mut own = self.draining.borrow().own_records(attached.meta);
        own.extend(rest.own_records(0));
        if let Some(server) = self.serving.borrow().clone().or_else(bridge::server) {
            self.draining.borrow_mut().give_up(&server, attached.meta, &mut waiting);
        }
        bridge::detach(attached.lane, waiting, on_purpose, rest);
        own
    }
}

/// The thread ends: nothing rings it any more, its sockets go to others, and what it sent is handed over.
unsafe extern "C" fn leave(data: *mut c_void) {
    // SAFETY: `data` is the instance, which `destroy` frees later.
    let instance = unsafe { from_data(data) };
    let Some(attached) = instance.attached.take() else { return };
    let rest = attached.inbox().abandon();
    instance.hooked.set(false);
    // It will not handle the end of a server any more: that must not keep others waiting.
    for kind in instance.hand_over(attached, &rest, false) {
        if kind == kind::STOPPED {
            bridge::finish_one();
        }
    }
    if let Ok(mut outbox) = instance.outbox.try_borrow_mut() {
        *outbox = None;
    }
    if attached.main {
        bridge::end_process();
    }
}

/// The environment ends: frees the instance.
unsafe extern "C" fn destroy(data: *mut c_void) {
    INSTANCES.with_borrow_mut(|instances| {
        instances.retain(|instance| !ptr::eq(*instance, data.cast::<Instance>()));
    });
    // SAFETY: made by `create` from a Box, and freed nowhere else.
    drop(unsafe { Box::from_raw(data.cast::<Instance>()) });
}

/// The lane of a thread's inbox, for `Server::room`.
pub fn lane_of(attached: Attached) -> Lane {
    Lane::host(attached.lane)
}
