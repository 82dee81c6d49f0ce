//! What a socket is called: a slot with a generation inside of the process, a uuid outside.
//!
//! The uuid (RFC 9562, version 8) carries the node, the slot, the generation and 32 random bits. Any thread resolves it
//! by decoding it, without a map, and a node sees which node owns it. It is an address, not a secret.

use std::{fmt, str::FromStr};

/// A socket inside of the process: the slot it holds, and which of the slot's holders it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    /// Index into the registry; dense, and used again after the socket's Close was delivered.
    pub slot: u32,
    /// Counts the holders of the slot, 20 bits.
    pub generation: u32,
}

/// The name of a socket outside of the process.
///
/// ```
/// use pocketsocket::Uuid;
/// let text = "0123456789ab-8000-8000-000000000000";
/// assert!(text.parse::<Uuid>().is_err(), "a uuid has five groups");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Uuid {
    /// Which server process the socket belongs to, 48 bits.
    pub(crate) node: u64,
    /// The socket in that process.
    pub(crate) id: SocketId,
    /// Checked against the slot's holder: a guess or an old uuid does not reach a new socket.
    pub(crate) random: u32,
}

/// A text that is no uuid of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUuid;

impl fmt::Display for InvalidUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a uuid of this server")
    }
}

impl std::error::Error for InvalidUuid {}

/// The generation's bits in a uuid; it wraps.
pub(crate) const GENERATION_MASK: u32 = (1 << 20) - 1;

impl Uuid {
    /// The 128 bits: node 48 | version 4 | slot's upper 12 | variant 2 | slot's lower 10 | generation 20 | random 32.
    #[must_use]
    pub fn to_bits(self) -> u128 {
        let slot = u128::from(self.id.slot);
        u128::from(self.node) << 80
            | 0x8 << 76
            | (slot >> 10) << 64
            | 0b10 << 62
            | (slot & 0x3ff) << 52
            | u128::from(self.id.generation & GENERATION_MASK) << 32
            | u128::from(self.random)
    }

    /// Reads the 128 bits back.
    ///
    /// # Errors
    /// [`InvalidUuid`] if version or variant are not ours.
    pub fn from_bits(bits: u128) -> Result<Self, InvalidUuid> {
        if bits >> 76 & 0xf != 0x8 || bits >> 62 & 0b11 != 0b10 {
            return Err(InvalidUuid);
        }
        let part = |shift: u32, width: u32| (bits >> shift) as u64 & ((1 << width) - 1);
        let slot = part(64, 12) << 10 | part(52, 10);
        Ok(Self {
            node: part(80, 48),
            id: SocketId { slot: slot as u32, generation: part(32, 20) as u32 },
            random: part(0, 32) as u32,
        })
    }

    /// Reads the 36 characters from bytes, upper or lower case.
    ///
    /// # Errors
    /// [`InvalidUuid`] if they are not a uuid of version 8.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidUuid> {
        if text.len() != 36 {
            return Err(InvalidUuid);
        }
        let mut bits = 0u128;
        for (at, &byte) in text.iter().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return Err(InvalidUuid);
                }
                continue;
            }
            let digit = (byte as char).to_digit(16).ok_or(InvalidUuid)?;
            bits = bits << 4 | u128::from(digit);
        }
        Self::from_bits(bits)
    }

    /// The 36 characters, as bytes of ASCII.
    #[must_use]
    pub fn encode(self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bytes = self.to_bits().to_be_bytes();
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in bytes.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 0xf)];
            at += 2;
        }
        text
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.encode()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        Self::parse(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(slot: u32, generation: u32) -> Uuid {
        Uuid { node: 0xfedc_ba98_7654, id: SocketId { slot, generation }, random: 0xdead_beef }
    }

    #[test]
    fn text_and_back_keeps_every_field_at_its_limits() {
        for slot in [0, 1, 1023, 1024, (1 << 22) - 1] {
            for generation in [0, 1, GENERATION_MASK] {
                let uuid = uuid(slot, generation);
                assert_eq!(uuid.to_string().parse(), Ok(uuid));
                assert_eq!(uuid.to_string().to_uppercase().parse(), Ok(uuid));
            }
        }
    }

    #[test]
    fn version_and_variant_are_where_rfc_9562_puts_them() {
        let text = uuid((1 << 22) - 1, GENERATION_MASK).to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(&text[14..15], "8");
        assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"), "{text}");
    }

    #[test]
    fn what_is_no_uuid_of_ours_is_refused() {
        let good = uuid(7, 7).to_string();
        let mut wrong = vec![String::new(), good[1..].to_owned(), format!("{good}0")];
        wrong.push(good.replace('-', "0"));
        wrong.push("fedcba98-7654-4000-8000-000000000000".into());
        wrong.push("fedcba98-7654-8000-c000-000000000000".into());
        wrong.push(format!("{}g", &good[..35]));
        wrong.push(format!("{}é", &good[..34]));
        for text in wrong {
            assert_eq!(text.parse::<Uuid>(), Err(InvalidUuid), "{text}");
        }
    }
}
