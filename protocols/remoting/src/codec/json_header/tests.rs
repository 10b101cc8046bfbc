//! JSON headers: what clients write, what they might write, and what no one may write.

use proptest::prelude::*;

use super::*;
use crate::codec::testing::{json_frame, seen};

/// Reads `header` and compares its extension fields, as `key=value` lines.
fn check(header: &str, expected: &str) {
    let frame = json_frame(header, b"").unwrap_or_else(|error| panic!("{header}: {error}"));
    let fields: Vec<String> =
        seen(&frame).fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(fields.join("\n"), expected, "{header}");
}

fn refuse(header: &str, expected: &str) {
    let error = json_frame(header, b"").expect_err(header).to_string();
    assert_eq!(error, expected, "{header}");
}

#[test]
fn fixed_fields_come_in_any_order_and_type() {
    for header in [
        r#"{"code":34,"language":"GO","version":317,"opaque":-8,"flag":2,"remark":"r","extFields":{}}"#,
        r#"{"extFields":null,"flag":2,"language":"GO","opaque":-8,"remark":"r","version":317,"code":34}"#,
        "\n { \"code\" : \"34\" , \"language\" : 9 , \"version\":\"317\", \"opaque\":-8,\t\"flag\": 2, \"remark\":\"r\"\r\n}\n",
        r#"{"x":{"code":[1,{"y":"}\""}]},"code":34,"language":"GO","version":317,"opaque":-8,"flag":2,"remark":"r"}"#,
    ] {
        let header = json_frame(header, b"").unwrap().header;
        assert_eq!((header.code, header.language.name(), header.version), (34, "GO", 317));
        assert_eq!((header.opaque, header.flag, header.remark()), (-8, 2, Some("r")));
        assert!(header.is_one_way() && !header.is_response());
        assert_eq!(header.fields().count(), 0);
    }
}

#[test]
fn absent_fields_have_defaults() {
    let header = json_frame(r#"{"code":0,"remark":null,"language":"KOBOLD"}"#, b"").unwrap().header;
    assert_eq!((header.version, header.opaque, header.flag, header.remark()), (0, 0, 0, None));
    assert_eq!(header.language, Language::OTHER);
}

#[test]
fn extension_values_are_text_whatever_they_were() {
    check(
        r#"{"code":310,"extFields":{"d":4,"k":false,"g":1795334856126,"n":null,"e":-1,"f":1.5e3,"s":"","o":{"a":[1]}}}"#,
        "d=4\nk=false\ng=1795334856126\ne=-1\nf=1.5e3\ns=\no={\"a\":[1]}",
    );
    let header = json_frame(r#"{"code":1,"extFields":{"a":"1","a":"2","b":null}}"#, b"").unwrap().header;
    assert_eq!(header.field("a"), Some("2"), "the later of two wins, as in a Java map");
    assert_eq!(header.field("b"), None);
    assert_eq!(header.field_bytes("a"), Some(bytes::Bytes::from_static(b"2")));
}

#[test]
fn escapes_are_undone_in_place() {
    check(
        r#"{"code":10,"extFields":{"i":"KEYS\u0001k\u0002TAGS\u0001tag-A\u0002","j":"0"}}"#,
        "i=KEYS\u{1}k\u{2}TAGS\u{1}tag-A\u{2}\nj=0",
    );
    check(
        r#"{"code":1,"extFields":{"\u006bey":"\"\\\/\b\f\n\r\t'","z":"\'"}}"#,
        "key=\"\\/\u{8}\u{c}\n\r\t'\nz='",
    );
    check(r#"{"code":1,"extFields":{"a":"\u96ea\u00fc\uD83D\uDE00x","b":"雪ü😀"}}"#, "a=雪ü😀x\nb=雪ü😀");
    check(r#"{"code":1,"extFields":{"a":"x\uD83Dy\uDE00z\uD83D\u0041"}}"#, "a=x\u{fffd}y\u{fffd}z\u{fffd}A");
    check(r#"{"code":1,"extFields":{"a":"\u0000\u0009\u000a\u001F"}}"#, "a=\0\t\n\u{1f}");
}

#[test]
fn what_is_no_header_is_refused_with_its_place() {
    refuse("", "header is malformed at byte 0: an object was expected");
    refuse("[1]", "header is malformed at byte 0: an object was expected");
    refuse("{}", "header is malformed at byte 2: the header has no code");
    refuse(r#"{"code":1"#, "header is malformed at byte 9: a comma or a closing brace was expected");
    refuse(r#"{"code":1,}"#, "header is malformed at byte 10: a string was expected");
    refuse(r#"{"code" 1}"#, "header is malformed at byte 8: a colon was expected");
    refuse(r#"{"code":1} x"#, "header is malformed at byte 11: text after the end of the header");
    refuse(r#"{"code":x}"#, "header is malformed at byte 8: a 32-bit integer was expected");
    refuse(r#"{"code":2147483648}"#, "header is malformed at byte 8: a 32-bit integer was expected");
    refuse(r#"{"code":1,"extFields":{"a":"\x"}}"#, "header is malformed at byte 28: an unknown escape");
    refuse(
        r#"{"code":1,"extFields":{"a":"\u00g1"}}"#,
        "header is malformed at byte 28: four hex digits were expected",
    );
    refuse(r#"{"code":1,"extFields":{"a":"#, "header is malformed at byte 27: a value was expected");
    refuse(r#"{"code":1,"extFields":{"a":"b"#, "header is malformed at byte 28: the string has no end");
    refuse(r#"{"code":1,"x":"a\"#, "header is malformed at byte 17: the string has no end");
    let error = crate::codec::testing::json_frame("{\"code\":1}", b"").map(|_| ());
    assert_eq!(error, Ok(()));
}

#[test]
fn nesting_and_field_counts_are_limited() {
    let nested = |depth: usize| format!(r#"{{"x":{}{},"code":1}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(json_frame(&nested(JSON_NESTING_COUNT_MAX), b"").is_ok());
    let error = json_frame(&nested(JSON_NESTING_COUNT_MAX + 1), b"").unwrap_err();
    assert!(error.to_string().contains("nested too deeply"), "{error}");
    let wide =
        |count: usize| format!(r#"{{"code":1,"extFields":{{{}}}}}"#, vec![r#""a":"b""#; count].join(","));
    assert_eq!(json_frame(&wide(512), b"").unwrap().header.fields().count(), 512);
    assert_eq!(json_frame(&wide(513), b"").unwrap_err(), FrameError::TooManyFields);
}

#[test]
fn text_that_is_not_utf8_is_read_with_replacements() {
    let mut bytes =
        crate::codec::testing::json_bytes(r#"{"code":1,"remark":"_.é","extFields":{"a":"_"}}"#, b"");
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'_').collect();
    for at in places {
        bytes[at] = 0xC4;
    }
    let frame = crate::codec::decode(&mut bytes).unwrap().unwrap();
    assert_eq!((frame.header.remark(), frame.header.field("a")), (Some("?.é"), Some("?")));
}

#[test]
fn integers_are_read_to_the_ends_of_their_range() {
    for (text, expected) in [
        ("0", Some(0)),
        ("-9223372036854775808", Some(i64::MIN)),
        ("+9223372036854775807", Some(i64::MAX)),
        ("9223372036854775808", None),
        ("", None),
        ("-", None),
        ("1a", None),
        ("1.0", None),
    ] {
        assert_eq!(parse_i64(text.as_bytes()), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn the_end_of_a_string_is_its_first_quote_or_backslash(text in "[a#\"\\\\!]{0,30}") {
        let expected = text.bytes().position(|byte| byte == b'"' || byte == b'\\');
        prop_assert_eq!(string_end(text.as_bytes()), expected);
    }

    /// Whatever serde writes, with all its escapes, comes back.
    #[test]
    fn any_strings_round_trip(fields in prop::collection::btree_map(".*", ".*", 0..30), ascii: bool) {
        let mut header = serde_json::json!({"code": 7, "extFields": fields}).to_string();
        if ascii {
            header = header.chars().map(escaped).collect();
        }
        let frame = json_frame(&header, b"").unwrap();
        let read: std::collections::BTreeMap<String, String> = seen(&frame).fields.into_iter().collect();
        prop_assert_eq!(read, fields);
    }
}

/// The character as ASCII JSON: `\u` escapes, in pairs where needed.
fn escaped(character: char) -> String {
    if character.is_ascii() {
        return character.to_string();
    }
    character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}
