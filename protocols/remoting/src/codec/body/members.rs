//! Body of the answer to GET_CONSUMER_LIST_BY_GROUP (38).
//!
//! An empty group is not answered with an empty list but with an error, by the adapter.

use bytes::{BufMut, BytesMut};

use crate::codec::json_text::put_string;

pub fn put_client_ids<'a>(out: &mut BytesMut, client_ids: impl IntoIterator<Item = &'a str>) {
    out.put_slice(b"{\"consumerIdList\":[");
    for (index, client_id) in client_ids.into_iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        put_string(out, client_id);
    }
    out.put_slice(b"]}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_listed_without_spaces() {
        let mut out = BytesMut::new();
        put_client_ids(&mut out, ["192.0.2.2@9994#33", "a\"b"]);
        assert_eq!(&out[..], br#"{"consumerIdList":["192.0.2.2@9994#33","a\"b"]}"#);
    }
}
