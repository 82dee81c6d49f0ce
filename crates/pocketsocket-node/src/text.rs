//! Which form a text takes on its way to JavaScript.
//!
//! V8 holds strings as Latin-1 or UTF-16. Given one of these it copies; given UTF-8 that is not ASCII it decodes, slowly,
//! on the JavaScript thread. So the choice and the decoding are done here, on the shard's thread.

use std::cell::RefCell;

/// How a text lies in the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form<'a> {
    /// One byte a character, up to U+00FF.
    Latin1(&'a [u8]),
    /// UTF-16 code units.
    Utf16(&'a [u16]),
}

thread_local! {
    static LATIN1: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static UTF16: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
}

/// What a thread keeps of its scratch space between texts, in elements.
const KEEP: usize = 64 * 1024;

/// The first byte of characters from U+0100 up is at least this in UTF-8 (RFC 3629 section 3).
const BEYOND_LATIN1: u8 = 0xC4;

/// Gives `text` to `body` in the form that V8 takes over by copying.
pub fn with_form<R>(text: &str, body: impl FnOnce(Form<'_>) -> R) -> R {
    if text.is_ascii() {
        return body(Form::Latin1(text.as_bytes()));
    }
    // A fold instead of `any`: without an early exit the compiler compares many bytes at a time.
    let beyond = text.bytes().fold(false, |beyond, byte| beyond | (byte >= BEYOND_LATIN1));
    if beyond {
        UTF16.with_borrow_mut(|units| {
            units.clear();
            units.extend(text.encode_utf16());
            let result = body(Form::Utf16(units));
            units.shrink_to(KEEP);
            result
        })
    } else {
        LATIN1.with_borrow_mut(|bytes| {
            bytes.clear();
            bytes.extend(text.chars().map(|char| char as u8));
            let result = body(Form::Latin1(bytes));
            bytes.shrink_to(KEEP);
            result
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_form_is_chosen() {
        with_form("", |form| assert_eq!(form, Form::Latin1(b"")));
        with_form("plain\0", |form| assert_eq!(form, Form::Latin1(b"plain\0")));
        with_form("caf\u{e9}\u{ff}", |form| assert_eq!(form, Form::Latin1(b"caf\xe9\xff")));
        with_form("\u{100}", |form| assert_eq!(form, Form::Utf16(&[0x100])));
        with_form("a😀", |form| assert_eq!(form, Form::Utf16(&[0x61, 0xd83d, 0xde00])));
    }
}
