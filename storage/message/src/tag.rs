//! The tag hash that index entries carry, so that a tag filter needs no message bytes.

/// Java's `String.hashCode` over UTF-16 units: what RocketMQ clients send as `codeSet`. No tag hashes to 0.
pub fn tag_hash(tag: &str) -> i32 {
    if tag.is_ascii() {
        return tag.bytes().fold(0, |hash: i32, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    }
    tag.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_java() {
        for (tag, hash) in [("", 0), ("TagA", 2598919), ("*", 42), ("héllo", 103094734), ("😀", 1772899)] {
            assert_eq!(tag_hash(tag), hash, "{tag}");
        }
    }
}
