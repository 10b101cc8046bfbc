//! Body of the answer to GET_BROKER_CLUSTER_INFO (106).
//!
//! Which brokers there are is the adapter's.

use bytes::{BufMut, BytesMut};

use super::route::{BrokerAddress, KeyStyle, put_broker};
use crate::codec::json_text::put_string;

/// All brokers of one cluster. `brokers` name the same cluster, `cluster`.
pub fn put_cluster(out: &mut BytesMut, cluster: &str, brokers: &[BrokerAddress], keys: KeyStyle) {
    out.put_slice(b"{\"brokerAddrTable\":{");
    for (index, broker) in brokers.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        put_string(out, broker.broker_name);
        out.put_u8(b':');
        put_broker(out, broker, keys);
    }
    out.put_slice(b"},\"clusterAddrTable\":{");
    put_string(out, cluster);
    out.put_slice(b":[");
    for (index, broker) in brokers.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        put_string(out, broker.broker_name);
    }
    out.put_slice(b"]}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_appear_by_name_and_by_cluster() {
        let broker = |broker_name| BrokerAddress { cluster: "C", broker_name, address: "h:1" };
        let mut out = BytesMut::new();
        put_cluster(&mut out, "C", &[broker("a"), broker("b")], KeyStyle::Quoted);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["clusterAddrTable"]["C"], serde_json::json!(["a", "b"]));
        assert_eq!(
            value["brokerAddrTable"]["b"],
            serde_json::json!({"brokerAddrs": {"0": "h:1"}, "brokerName": "b", "cluster": "C", "enableActingMaster": false})
        );
    }
}
