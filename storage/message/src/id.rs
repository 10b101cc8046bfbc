//! Message ids that RocketMQ clients parse: the offset id (where a message lies) and the unique id (who made it).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Address of a broker and a log position, as 32 (IPv4) or 56 (IPv6) upper-case hex digits. Clients dial the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetId {
    pub host: SocketAddr,
    pub position: u64,
}

impl fmt::Display for OffsetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.ip() {
            IpAddr::V4(v4) => write!(f, "{:08X}", u32::from(v4))?,
            IpAddr::V6(v6) => write!(f, "{:032X}", u128::from(v6))?,
        }
        write!(f, "{:08X}{:016X}", self.host.port(), self.position)
    }
}

/// A text that is no offset id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an offset message id has 32 or 56 hexadecimal digits")]
pub struct NoOffsetId;

impl FromStr for OffsetId {
    type Err = NoOffsetId;

    fn from_str(text: &str) -> Result<Self, NoOffsetId> {
        let address_digits = match text.len() {
            32 => 8,
            56 => 32,
            _ => return Err(NoOffsetId),
        };
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoOffsetId);
        }
        let part = |from: usize, to: usize| text.get(from..to).ok_or(NoOffsetId);
        let address = part(0, address_digits)?;
        let ip = if address_digits == 8 {
            IpAddr::V4(u32::from_str_radix(address, 16).map_err(|_| NoOffsetId)?.into())
        } else {
            IpAddr::V6(u128::from_str_radix(address, 16).map_err(|_| NoOffsetId)?.into())
        };
        let port =
            u32::from_str_radix(part(address_digits, address_digits + 8)?, 16).map_err(|_| NoOffsetId)?;
        let port = u16::try_from(port).map_err(|_| NoOffsetId)?;
        let position =
            u64::from_str_radix(part(address_digits + 8, text.len())?, 16).map_err(|_| NoOffsetId)?;
        Ok(OffsetId { host: SocketAddr::new(ip, port), position })
    }
}

/// Makes unique message ids for messages whose producer gave none: 32 upper-case hex digits, in the shape RocketMQ
/// clients use (address, process, loader, time, counter), so that tools which take them apart still can.
#[derive(Clone, Debug)]
pub struct UniqueId {
    prefix: String,
    counter: u64,
}

impl UniqueId {
    /// `node` tells brokers apart (address or a random number), `start_ms` is when this maker began.
    pub fn new(node: u32, process: u32, start_ms: u64) -> Self {
        let [_, _, high, low] = process.to_be_bytes();
        UniqueId {
            prefix: format!("{node:08X}{:04X}", u16::from_be_bytes([high, low])),
            counter: start_ms << 16,
        }
    }

    /// The next id; ids of one maker never repeat.
    pub fn next_id(&mut self) -> String {
        self.counter = self.counter.wrapping_add(1);
        format!("{}{:020X}", self.prefix, self.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_ids_round_trip_and_match_rocketmq() {
        let id = OffsetId { host: "127.0.0.1:21911".parse().unwrap(), position: 0xAFEA };
        assert_eq!(id.to_string(), "7F00000100005597000000000000AFEA");
        for host in ["127.0.0.1:21911", "[::1]:9876"] {
            let id = OffsetId { host: host.parse().unwrap(), position: u64::MAX };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", "7F", "ZZ000001000055970000000000000000", "7F00000100FF5597000000000000AFEA"] {
            assert!(bad.parse::<OffsetId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn unique_ids_differ() {
        let mut ids = UniqueId::new(0x7F000001, 70_000, 1_795_336_144_547);
        let (a, b) = (ids.next_id(), ids.next_id());
        assert!(a != b && a.len() == 32 && b.len() == 32);
    }
}
