//! The text of an offset message id, made on the stack: every answer to a send carries one.
//!
//! Reading ids back is `mailrail_message::OffsetId`'s; ids that clients make themselves are opaque text.

use std::net::IpAddr;

use mailrail_message::OffsetId;

/// Address (4 or 16 bytes), port (4), position (8), two digits each.
const HEX_CHARS_MAX: usize = 56;

#[derive(Debug, Clone, Copy)]
pub(super) struct HexId {
    digits: [u8; HEX_CHARS_MAX],
    length: usize,
}

impl HexId {
    pub(super) fn new(id: OffsetId) -> HexId {
        let mut hex = HexId { digits: [0; HEX_CHARS_MAX], length: 0 };
        match id.host.ip() {
            IpAddr::V4(ip) => hex.push(&ip.octets()),
            IpAddr::V6(ip) => hex.push(&ip.octets()),
        }
        hex.push(&u32::from(id.host.port()).to_be_bytes());
        hex.push(&id.position.to_be_bytes());
        hex
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + (nibble - 10) };
        for byte in bytes {
            if let Some([high, low]) = self.digits.get_mut(self.length..self.length + 2) {
                (*high, *low) = (digit(byte >> 4), digit(byte & 15));
                self.length += 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_id_is_an_ipv6_address_and_fills_its_room() {
        let id = |ip| OffsetId { host: SocketAddr::new(ip, u16::MAX), position: u64::MAX };
        let longest = HexId::new(id(IpAddr::from([0xab; 16])));
        assert_eq!(
            std::str::from_utf8(longest.as_bytes()).unwrap(),
            id(IpAddr::from([0xab; 16])).to_string()
        );
        assert_eq!(longest.as_bytes().len(), HEX_CHARS_MAX);
        assert_eq!(HexId::new(id(IpAddr::from([0xab; 4]))).as_bytes().len(), HEX_CHARS_MAX - 24);
    }

    proptest! {
        #[test]
        fn the_text_is_that_of_the_message_crate(ip: IpAddr, port: u16, position: u64) {
            let id = OffsetId { host: SocketAddr::new(ip, port), position };
            let hex = HexId::new(id);
            prop_assert_eq!(std::str::from_utf8(hex.as_bytes()).unwrap(), id.to_string());
        }
    }
}
