//! Bytes of a client after its handshake: the decoder against tungstenite, however they are cut.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pocketsocket::fuzzing::frames(data));
