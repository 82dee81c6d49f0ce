//! The parts of a message's way, each by itself: `npm run bench:parts`.
//!
//! What is measured are the server's own functions; of the addon those that need no JavaScript.

// Each of the bench's functions is called by criterion's macros alone.
#![allow(missing_docs)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pocketsocket::{Event, EventKind, Offer, Request, SocketId, Uuid, benching};

#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../pocketsocket-node/src/bell.rs"]
mod bell;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../pocketsocket-node/src/inbox.rs"]
mod inbox;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../pocketsocket-node/src/slab.rs"]
mod slab;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../pocketsocket-node/src/sync.rs"]
mod sync;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../pocketsocket-node/src/text.rs"]
mod text;

/// What the inbox names of the addon's JavaScript side. No thread claims the inbox here, so none is ever made.
mod js {
    pub(crate) enum Doorbell {}

    impl Doorbell {
        pub(crate) fn ring(&self) {
            match *self {}
        }
    }
}

const SIZES: [usize; 3] = [16, 128, 1024];
/// Messages of one read.
const BURST: usize = 64;

fn ascii(len: usize) -> String {
    "abcdefgh".chars().cycle().take(len).collect()
}

fn cyrillic(len: usize) -> String {
    "жзийклмн".chars().cycle().take(len / 2).collect()
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode and unmask 64 messages");
    for size in SIZES {
        for (name, payload) in [("ascii", ascii(size)), ("cyrillic", cyrillic(size))] {
            let stream = benching::stream(payload.as_bytes(), true, BURST);
            // A stream that is refused early would be measured as a quick one.
            assert_eq!(benching::decode(&mut stream.clone()), BURST);
            group.throughput(Throughput::Elements(BURST as u64));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter_batched_ref(
                    || stream.clone(),
                    |stream| black_box(benching::decode(stream)),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
    let mut group = c.benchmark_group("unmask");
    for size in [128, 16 * 1024] {
        let mut bytes = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| benching::unmask(black_box(&mut bytes)));
        });
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for size in SIZES {
        let payload = vec![0; size];
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| benching::encode(black_box(&payload)));
        });
    }
    group.finish();
}

fn choose_text(c: &mut Criterion) {
    let mut group = c.benchmark_group("choose the text's form");
    for size in SIZES {
        for (name, text) in [("ascii", ascii(size)), ("cyrillic", cyrillic(size))] {
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    text::with_form(black_box(&text), |form| {
                        black_box(&form);
                    });
                });
            });
        }
    }
    group.finish();
}

fn append_to_slab(c: &mut Criterion) {
    let mut group = c.benchmark_group("append 64 texts to a slab and clear it");
    let id = SocketId { slot: 1, generation: 1 };
    for size in SIZES {
        let text = ascii(size);
        let mut slab = slab::Slab::default();
        group.throughput(Throughput::Elements(BURST as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                for _ in 0..BURST {
                    text::with_form(&text, |form| {
                        slab.push_text(slab::Record::new(id, slab::kind::TEXT), form, false);
                    });
                }
                black_box(slab.size());
                slab.clear();
            });
        });
    }
    group.finish();
}

fn pass_through_inbox(c: &mut Criterion) {
    let mut group = c.benchmark_group("offer 64 texts to an inbox and swap it out");
    let id = SocketId { slot: 1, generation: 1 };
    // Version 8 and variant 2: all that is looked at.
    let Ok(uuid) = Uuid::from_bits(0x8 << 76 | 0b10 << 62) else { return };
    let inbox = inbox::Inbox::new();
    inbox.set_hooked(true);
    let mut drained = slab::Slab::default();
    inbox.swap(&mut drained, inbox::MAX_RECORDS);
    let request = Request::default();
    let connect = EventKind::Connect { request: &request, resumed: false };
    assert_eq!(inbox.offer(&Event { id, uuid, kind: connect }, false), Offer::Taken);
    inbox.swap(&mut drained, inbox::MAX_RECORDS);
    for size in SIZES {
        for (name, text) in [("ascii", ascii(size)), ("cyrillic", cyrillic(size))] {
            let event = Event { id, uuid, kind: EventKind::Text(&text) };
            group.throughput(Throughput::Elements(BURST as u64));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    drained.clear();
                    for _ in 0..BURST {
                        black_box(inbox.offer(black_box(&event), false));
                    }
                    inbox.swap(&mut drained, inbox::MAX_RECORDS);
                    // A text that is refused would be measured as a quick one.
                    assert_eq!(drained.records.len(), BURST);
                });
            });
        }
    }
    group.finish();
}

/// What a drain does for each event beside calling JavaScript and making its string there.
fn drain(c: &mut Criterion) {
    let mut group = c.benchmark_group("drain 64 texts of a slab, without JavaScript");
    // Their length is nothing to it.
    for (name, content) in [("ascii", ascii(128)), ("cyrillic", cyrillic(128))] {
        let mut slab = slab::Slab::default();
        for slot in 0..BURST as u32 {
            let record = slab::Record::new(SocketId { slot, generation: 1 }, slab::kind::TEXT);
            text::with_form(&content, |form| slab.push_text(record, form, false));
        }
        group.throughput(Throughput::Elements(BURST as u64));
        group.bench_function(name, |b| {
            let mut meta = [0; slab::FIELDS * BURST];
            b.iter(|| {
                let fields = meta.chunks_exact_mut(slab::FIELDS);
                for (record, fields) in black_box(&slab).records.iter().zip(fields) {
                    fields.copy_from_slice(&record.fields());
                    black_box(slab.form(record));
                }
                black_box(&meta);
            });
        });
    }
    group.finish();
}

fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan out to 1,000 sockets, without the system");
    for size in [64, 16 * 1024] {
        let frame = Bytes::from(benching::encode(&vec![0; size]));
        let mut receivers = benching::Receivers::new(1000);
        group.throughput(Throughput::Elements(1000));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| receivers.fan_out(black_box(&frame)));
        });
    }
    group.finish();
}

criterion_group!(
    parts,
    decode,
    encode,
    choose_text,
    append_to_slab,
    pass_through_inbox,
    drain,
    fan_out
);
criterion_main!(parts);
