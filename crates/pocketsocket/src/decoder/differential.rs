//! Generated streams, the same in each run, given to the decoder and to its oracle.

use super::{
    oracle::{MAX, Seen, agree, ours, theirs},
    tests::masked,
};

/// xorshift64: the same streams in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.below(256) as u8).collect()
    }

    /// Mostly UTF-8, cut anywhere, and now and then broken.
    fn text(&mut self) -> Vec<u8> {
        let mut text = String::new();
        for _ in 0..self.below(40) {
            text.push(['a', '\0', 'é', 'я', '€', '\u{ffff}', '😀', '\u{10ffff}'][self.below(8)]);
        }
        let mut bytes = text.into_bytes();
        if self.below(6) == 0 && !bytes.is_empty() {
            let at = self.below(bytes.len());
            bytes[at] = self.below(256) as u8;
        }
        bytes
    }

    /// A few frames: messages whole and in pieces, control frames in between, and now and then a fault.
    fn stream(&mut self) -> Vec<u8> {
        let mut stream = Vec::new();
        for _ in 0..=self.below(6) {
            match self.below(10) {
                0..=3 => {
                    let text = self.text();
                    self.pieces(&mut stream, 1, &text);
                }
                4..=6 => {
                    let most = [20, 130, MAX.payload + 20][self.below(3)];
                    let bytes = self.bytes(most);
                    self.pieces(&mut stream, 2, &bytes);
                }
                7 => self.control(&mut stream),
                8 => {
                    let first = self.below(256) as u8;
                    let payload = self.bytes(130);
                    stream.extend(masked(first, &payload));
                }
                _ => {
                    let code = [1000, 1001, 1005, 1011, 1016, 3000, 4999, 5000, 0][self.below(9)];
                    let mut payload = u16::to_be_bytes(code).to_vec();
                    payload.extend(self.text());
                    let len = [0, 1, 2, payload.len().min(125)][self.below(4)].min(payload.len());
                    stream.extend(masked(0x88, &payload[..len]));
                }
            }
        }
        stream
    }

    fn pieces(&mut self, stream: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
        let mut rest = payload;
        let mut opcode = opcode;
        while self.below(3) == 0 {
            let (piece, next) = rest.split_at(self.below(rest.len() + 1));
            stream.extend(masked(opcode, piece));
            (rest, opcode) = (next, 0);
            if self.below(3) == 0 {
                self.control(stream);
            }
        }
        stream.extend(masked(0x80 | opcode, rest));
    }

    fn control(&mut self, stream: &mut Vec<u8>) {
        let first = [0x89, 0x8a][self.below(2)];
        let payload = self.bytes(126);
        stream.extend(masked(first, &payload));
    }
}

#[test]
fn whole_streams_give_what_tungstenite_gives_wherever_they_are_cut() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut faults = 0;
    for round in 0..20_000 {
        let stream = random.stream();
        let expected = theirs(&stream);
        faults += usize::from(matches!(expected.last(), Some(Seen::Fault(_))));
        for _ in 0..3 {
            assert_eq!(
                ours(&stream, |n| random.below(n)),
                expected,
                "round {round}: {stream:02x?}"
            );
        }
    }
    // Streams that are all good, or all bad, would show little.
    assert!((2_000..18_000).contains(&faults), "{faults} of 20,000 streams have a fault");
}

#[test]
fn streams_that_end_early_give_what_tungstenite_gives_or_tell_of_a_fault_sooner() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..20_000 {
        let mut stream = random.stream();
        stream.truncate(random.below(stream.len() + 1));
        let expected = theirs(&stream);
        let seen = ours(&stream, |n| random.below(n));
        assert!(
            agree(&seen, &expected),
            "round {round}: {seen:?}, not {expected:?}: {stream:02x?}"
        );
    }
}
