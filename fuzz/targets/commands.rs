//! Commands through outbox, mailbox and shard against a plain model.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pocketsocket::fuzzing::commands(data));
