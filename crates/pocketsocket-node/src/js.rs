//! A thin layer over Node-API: arguments in, values out, errors with a code. Only for calls on the thread of `env`.

use std::{ffi::c_void, mem::MaybeUninit, ptr};

use napi::sys::{self, Status, napi_callback_info, napi_env, napi_value};

/// `NAPI_AUTO_LENGTH`: Node-API measures the text itself.
const AUTO: isize = -1;

/// A call from JavaScript: its arguments and the data that was given when its function was made.
pub struct Call<const N: usize> {
    pub env: napi_env,
    pub args: [napi_value; N],
    pub data: *mut c_void,
}

impl<const N: usize> Call<N> {
    /// Reads what JavaScript gave; missing arguments are `undefined`.
    ///
    /// # Safety
    /// `env` and `info` are those of the running callback.
    pub unsafe fn new(env: napi_env, info: napi_callback_info) -> Self {
        let mut call = Self { env, args: [ptr::null_mut(); N], data: ptr::null_mut() };
        let mut count = N;
        // SAFETY: the caller vouches for `env` and `info`; the array has room for `count` values.
        unsafe {
            sys::napi_get_cb_info(
                env,
                info,
                &mut count,
                call.args.as_mut_ptr(),
                ptr::null_mut(),
                &mut call.data,
            );
        }
        call
    }

    /// An argument as an unsigned integer; what is no number is 0. `index.ts` has checked what users gave.
    pub fn u32(&self, at: usize) -> u32 {
        let mut value = 0;
        // SAFETY: `args` are live values of this callback.
        unsafe { sys::napi_get_value_uint32(self.env, self.args[at], &mut value) };
        value
    }

    /// Copies a string of at most `N` bytes of Latin-1; `None` if it is no string or longer.
    pub fn latin1<const M: usize>(&self, at: usize, into: &mut [u8; M]) -> Option<usize> {
        let mut len = 0;
        // SAFETY: `into` has room for `M` bytes, the terminating NUL included.
        let status = unsafe {
            sys::napi_get_value_string_latin1(
                self.env,
                self.args[at],
                into.as_mut_ptr().cast(),
                M,
                &mut len,
            )
        };
        // A text that fills all of it may have been cut.
        (status == Status::napi_ok && len < M - 1).then_some(len)
    }

    /// Appends an argument to `into` if it is a string, as UTF-8; lone surrogates become U+FFFD. False if it is none.
    pub fn append_utf8(&self, at: usize, into: &mut Vec<u8>) -> bool {
        // One pass for what fits into the space at hand: nearly always. A second only to learn the length of the rest.
        const GUESS: usize = 1024;
        into.reserve(GUESS);
        let spare = into.spare_capacity_mut();
        let Some(len) = self.utf8_into(at, spare) else { return false };
        // Room for one more character and the NUL means that nothing was cut.
        if len + 4 < spare.len() {
            // SAFETY: Node-API has written `len` bytes there.
            unsafe { into.set_len(into.len() + len) };
            return true;
        }
        let mut all = 0;
        // SAFETY: without a buffer only the length is written.
        unsafe {
            sys::napi_get_value_string_utf8(self.env, self.args[at], ptr::null_mut(), 0, &mut all);
        }
        into.reserve(all + 1);
        let Some(len) = self.utf8_into(at, into.spare_capacity_mut()) else { return false };
        // SAFETY: as above.
        unsafe { into.set_len(into.len() + len) };
        true
    }

    fn utf8_into(&self, at: usize, spare: &mut [MaybeUninit<u8>]) -> Option<usize> {
        let mut len = 0;
        // SAFETY: Node-API writes at most `spare.len()` bytes, its NUL included, and gives how many without it.
        let status = unsafe {
            sys::napi_get_value_string_utf8(
                self.env,
                self.args[at],
                spare.as_mut_ptr().cast(),
                spare.len(),
                &mut len,
            )
        };
        (status == Status::napi_ok).then_some(len)
    }

    /// The memory of a Uint8Array argument: pointer and length; `None` if it is none.
    pub fn bytes(&self, at: usize) -> Option<(*mut u8, usize)> {
        let (mut len, mut data) = (0, ptr::null_mut());
        // SAFETY: out-pointers are valid; those that are not needed may be null.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.env,
                self.args[at],
                ptr::null_mut(),
                &mut len,
                &mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        (status == Status::napi_ok).then_some((data.cast(), len))
    }

    /// Appends a copy of a Uint8Array argument; false if it is none.
    pub fn append_bytes(&self, at: usize, into: &mut Vec<u8>) -> bool {
        let Some((data, len)) = self.bytes(at) else { return false };
        into.reserve(len);
        // SAFETY: the array keeps `len` bytes alive during the call; the destination was reserved and is ours. A shared
        // buffer may change meanwhile: then the copy is a mixture, which is checked as a copy.
        unsafe {
            if len > 0 {
                ptr::copy_nonoverlapping(data, into.as_mut_ptr().add(into.len()), len);
            }
            into.set_len(into.len() + len);
        }
        true
    }
}

/// A number for JavaScript.
pub fn number(env: napi_env, value: u32) -> napi_value {
    let mut result = ptr::null_mut();
    // SAFETY: `env` is of the running callback.
    unsafe { sys::napi_create_uint32(env, value, &mut result) };
    result
}

/// Classes of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Error,
    TypeError,
    RangeError,
}

/// Throws when the running callback returns. Gives `undefined` for it to return.
pub fn throw(env: napi_env, class: Class, code: &str, message: &str) -> napi_value {
    // Texts of ours contain no NUL, but those of users might: they are given with their length instead.
    // SAFETY: `env` is of the running callback; each pointer is given with its length.
    unsafe {
        let (mut code_value, mut text, mut error) =
            (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        sys::napi_create_string_utf8(
            env,
            code.as_ptr().cast(),
            code.len() as isize,
            &mut code_value,
        );
        sys::napi_create_string_utf8(
            env,
            message.as_ptr().cast(),
            message.len() as isize,
            &mut text,
        );
        match class {
            Class::Error => sys::napi_create_error(env, code_value, text, &mut error),
            Class::TypeError => sys::napi_create_type_error(env, code_value, text, &mut error),
            Class::RangeError => sys::napi_create_range_error(env, code_value, text, &mut error),
        };
        sys::napi_throw(env, error);
    }
    ptr::null_mut()
}

/// Makes a function for JavaScript and sets it on `exports`.
///
/// # Safety
/// `env` and `exports` are live; `data` outlives the environment's last call.
pub unsafe fn export(
    env: napi_env,
    exports: napi_value,
    name: &'static std::ffi::CStr,
    callback: unsafe extern "C" fn(napi_env, napi_callback_info) -> napi_value,
    data: *mut c_void,
) {
    let mut function = ptr::null_mut();
    // SAFETY: the caller vouches for the values; the name ends with NUL.
    unsafe {
        sys::napi_create_function(env, name.as_ptr(), AUTO, Some(callback), data, &mut function);
        sys::napi_set_named_property(env, exports, name.as_ptr(), function);
    }
}

/// Wakes a JavaScript thread: a `ThreadsafeFunction` that carries nothing.
#[derive(Debug)]
pub struct Doorbell(sys::napi_threadsafe_function);

// SAFETY: Node-API documents napi_call_threadsafe_function as callable from any thread; the handle is a pointer that
// lives until its environment ends, and `Inbox::abandon` takes it away before that.
unsafe impl Send for Doorbell {}

impl Doorbell {
    /// Makes one that calls `pump` without arguments. It does not keep the thread alive.
    ///
    /// # Safety
    /// `env` and `pump` are of the running callback.
    pub unsafe fn new(env: napi_env, pump: napi_value) -> Option<Self> {
        let (mut name, mut handle) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the caller vouches for the values; null pointers mean "none" to Node-API.
        let status = unsafe {
            sys::napi_create_string_utf8(env, c"pocketsocket".as_ptr(), AUTO, &mut name);
            sys::napi_create_threadsafe_function(
                env,
                pump,
                ptr::null_mut(),
                name,
                0,
                1,
                ptr::null_mut(),
                None,
                ptr::null_mut(),
                None,
                &mut handle,
            )
        };
        if status != Status::napi_ok {
            return None;
        }
        // SAFETY: on the environment's thread.
        unsafe { sys::napi_unref_threadsafe_function(env, handle) };
        Some(Self(handle))
    }

    /// The door-bell of a handle again.
    ///
    /// # Safety
    /// `handle` is of [`Doorbell::handle`], and still live.
    pub unsafe fn from_handle(handle: sys::napi_threadsafe_function) -> Self {
        Self(handle)
    }

    /// The handle, for ref and unref on the thread of its environment.
    pub fn handle(&self) -> sys::napi_threadsafe_function {
        self.0
    }

    /// Rings. A thread that is ending does not hear it any more, which is as well.
    pub fn ring(&self) {
        // SAFETY: the handle is live: it is taken out of its inbox, under the inbox's lock, before it ends.
        unsafe {
            sys::napi_call_threadsafe_function(
                self.0,
                ptr::null_mut(),
                sys::ThreadsafeFunctionCallMode::nonblocking,
            );
        }
    }
}
