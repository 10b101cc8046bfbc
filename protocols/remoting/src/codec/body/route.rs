//! Body of the answer to GET_ROUTEINFO_BY_TOPIC (105).
//!
//! Compact, in the reference broker's key order: old Go clients slice the text. Which brokers and how many
//! queues there are is the adapter's.

use bytes::{BufMut, BytesMut};

use crate::codec::json_text::{put_number, put_string};

/// Permission bits of a queue list.
pub const PERM_READ: i32 = 4;
pub const PERM_WRITE: i32 = 2;
pub const PERM_INHERIT: i32 = 1;

/// Release 4.9.4, the first whose clients want standard JSON.
const VERSION_OF_QUOTED_KEYS: i32 = 401;

/// Integer keys of `brokerAddrs`: the one place where the bytes depend on the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStyle {
    /// `{0:"host:port"}`, which is no JSON but what clients before 4.9.4 expect.
    Bare,
    /// `{"0":"host:port"}`.
    Quoted,
}

impl KeyStyle {
    pub fn of_version(version: i32) -> KeyStyle {
        if version >= VERSION_OF_QUOTED_KEYS { KeyStyle::Quoted } else { KeyStyle::Bare }
    }
}

/// One broker name (a shard) and where its only member listens. Its id is always 0, the master's.
#[derive(Debug, Clone, Copy)]
pub struct BrokerAddress<'a> {
    pub cluster: &'a str,
    pub broker_name: &'a str,
    /// `host:port` as clients can reach it.
    pub address: &'a str,
}

/// The queues of a topic on one broker name.
#[derive(Debug, Clone, Copy)]
pub struct QueueData<'a> {
    pub broker_name: &'a str,
    /// Sum of `PERM_*`.
    pub perm: i32,
    pub read_queues: u32,
    pub write_queues: u32,
    pub topic_sys_flag: i32,
}

/// Writes a route.
pub fn put_route(out: &mut BytesMut, brokers: &[BrokerAddress], queues: &[QueueData], keys: KeyStyle) {
    out.put_slice(b"{\"brokerDatas\":[");
    for (index, broker) in brokers.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        put_broker(out, broker, keys);
    }
    out.put_slice(b"],\"filterServerTable\":{},\"queueDatas\":[");
    for (index, queue) in queues.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(b"{\"brokerName\":");
        put_string(out, queue.broker_name);
        for (name, number) in [
            (&b",\"perm\":"[..], i64::from(queue.perm)),
            (b",\"readQueueNums\":", i64::from(queue.read_queues)),
            (b",\"topicSysFlag\":", i64::from(queue.topic_sys_flag)),
            (b",\"writeQueueNums\":", i64::from(queue.write_queues)),
        ] {
            out.put_slice(name);
            put_number(out, number);
        }
        out.put_u8(b'}');
    }
    out.put_slice(b"]}");
}

/// One entry of `brokerDatas`; the cluster answer has the same.
pub(super) fn put_broker(out: &mut BytesMut, broker: &BrokerAddress, keys: KeyStyle) {
    out.put_slice(match keys {
        KeyStyle::Bare => b"{\"brokerAddrs\":{0:",
        KeyStyle::Quoted => b"{\"brokerAddrs\":{\"0\":",
    });
    put_string(out, broker.address);
    out.put_slice(b"},\"brokerName\":");
    put_string(out, broker.broker_name);
    out.put_slice(b",\"cluster\":");
    put_string(out, broker.cluster);
    out.put_slice(b",\"enableActingMaster\":false}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_byte_for_byte_the_reference_brokers() {
        let broker =
            BrokerAddress { cluster: "DefaultCluster", broker_name: "broker-a", address: "127.0.0.1:10911" };
        let queues = QueueData {
            broker_name: "broker-a",
            perm: PERM_READ | PERM_WRITE,
            read_queues: 2,
            write_queues: 2,
            topic_sys_flag: 0,
        };
        for (version, key) in [(121, "0"), (317, "0"), (400, "0"), (401, "\"0\""), (513, "\"0\"")] {
            let mut out = BytesMut::new();
            put_route(&mut out, &[broker], &[queues], KeyStyle::of_version(version));
            let expected = format!(
                r#"{{"brokerDatas":[{{"brokerAddrs":{{{key}:"127.0.0.1:10911"}},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}}],"filterServerTable":{{}},"queueDatas":[{{"brokerName":"broker-a","perm":6,"readQueueNums":2,"topicSysFlag":0,"writeQueueNums":2}}]}}"#
            );
            assert_eq!(std::str::from_utf8(&out).unwrap(), expected, "version {version}");
        }
    }
}
