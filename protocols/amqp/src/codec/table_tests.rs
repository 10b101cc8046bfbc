//! Tests of field tables: every type octet, limits at limit and limit + 1, and bytes that pass through unchanged.

use proptest::prelude::*;

use super::*;

fn table_of(value: Value<'_>) -> TableBuffer {
    let mut table = TableBuffer::default();
    table.put("k", value);
    table
}

#[test]
fn every_type_octet_reads_as_rabbitmq_reads_it() {
    let cases: &[(&[u8], Value<'_>)] = &[
        (b"t\x01", Value::Bool(true)),
        (b"b\xff", Value::I8(-1)),
        (b"B\xff", Value::U8(255)),
        (b"s\xff\xfe", Value::I16(-2)),
        (b"U\xff\xfe", Value::I16(-2)),
        (b"u\xff\xfe", Value::U16(65_534)),
        (b"I\xff\xff\xff\xfd", Value::I32(-3)),
        (b"i\xff\xff\xff\xfd", Value::U32(4_294_967_293)),
        (b"l\xff\xff\xff\xff\xff\xff\xff\xfc", Value::I64(-4)),
        (b"L\xff\xff\xff\xff\xff\xff\xff\xfc", Value::I64(-4)),
        (b"f\x3f\x80\x00\x00", Value::F32(1.0)),
        (b"d\x3f\xf0\x00\x00\x00\x00\x00\x00", Value::F64(1.0)),
        (b"D\x02\x00\x00\x01\x3a", Value::Decimal { scale: 2, value: 314 }),
        (b"S\x00\x00\x00\x02hi", Value::Text(b"hi")),
        (b"T\x00\x00\x00\x00\x00\x00\x00\x09", Value::Timestamp(9)),
        (b"V", Value::Void),
        (b"\x00", Value::Void),
        (b"x\x00\x00\x00\x01\xff", Value::Bytes(b"\xff")),
    ];
    for (bytes, expected) in cases {
        let entry = [b"\x01k", *bytes].concat();
        let table = Table::check(&entry).unwrap();
        assert_eq!(table.get("k"), Some(*expected), "{bytes:?}");
        assert_eq!(table.as_bytes(), entry);
    }
}

#[test]
fn duplicates_keep_their_order_and_the_first_is_found() {
    let mut table = TableBuffer::default();
    table.put("a", Value::I32(1)).put_text("b", "x").put("a", Value::I32(2));
    let keys: Vec<_> = table.as_table().iter().map(|(key, _)| key.to_owned()).collect();
    assert_eq!(keys, ["a", "b", "a"]);
    assert_eq!(table.as_table().get("a").and_then(|value| value.as_integer()), Some(1));
    assert_eq!(table.as_table().get("b").and_then(|value| value.as_text()), Some("x"));
}

fn nested(depth: usize) -> Vec<u8> {
    let mut inner = TableBuffer::default();
    for _ in 0..depth {
        let outer = table_of(Value::Table(inner.as_table()));
        inner = outer;
    }
    inner.as_table().as_bytes().to_vec()
}

#[test]
fn nesting_is_limited() {
    assert!(Table::check(&nested(TABLE_DEPTH_MAX)).is_ok());
    let error = Table::check(&nested(TABLE_DEPTH_MAX + 1)).unwrap_err();
    assert_eq!(error, Malformed::TooDeep { max: TABLE_DEPTH_MAX });
}

#[test]
fn entries_are_counted_with_those_inside() {
    let mut array = BytesMut::new();
    (0..TABLE_ENTRIES_MAX - 1).for_each(|_| Value::Void.write(&mut array));
    assert!(Table::check(table_of(Value::Array(Array { bytes: &array })).as_table().as_bytes()).is_ok());
    Value::Void.write(&mut array);
    let over = table_of(Value::Array(Array { bytes: &array }));
    assert_eq!(Table::check(over.as_table().as_bytes()), Err(Malformed::TooMany { max: TABLE_ENTRIES_MAX }));
}

#[test]
fn malformed_tables_say_why() {
    let cases: &[(&[u8], Malformed)] = &[
        (b"\x01k", Malformed::Short),
        (b"\x01kZ", Malformed::UnknownTag(b'Z')),
        (b"\x01kS\x00\x00\x00\x05ab", Malformed::Short),
        (b"\x01\xffV", Malformed::NotUtf8),
        (b"\x01kF\x00\x00\x00\x03\x01kQ", Malformed::UnknownTag(b'Q')),
        (b"\x01kA\x00\x00\x00\x02I\x00", Malformed::Short),
    ];
    for (bytes, expected) in cases {
        assert_eq!(Table::check(bytes), Err(*expected), "{bytes:?}");
    }
}

fn leaf() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..12);
    let written = |value: Value<'_>| {
        let mut out = BytesMut::new();
        value.write(&mut out);
        out.to_vec()
    };
    prop_oneof![
        any::<bool>().prop_map(move |value| written(Value::Bool(value))),
        any::<i8>().prop_map(move |value| written(Value::I8(value))),
        any::<u16>().prop_map(move |value| written(Value::U16(value))),
        any::<i32>().prop_map(move |value| written(Value::I32(value))),
        any::<i64>().prop_map(move |value| written(Value::I64(value))),
        any::<u64>().prop_map(move |value| written(Value::Timestamp(value))),
        (any::<u8>(), any::<i32>()).prop_map(move |(scale, value)| written(Value::Decimal { scale, value })),
        bytes().prop_map(move |value| written(Value::Text(&value))),
        bytes().prop_map(move |value| written(Value::Bytes(&value))),
        Just(written(Value::Void)),
    ]
}

proptest! {
    #[test]
    fn every_value_is_written_as_it_was_read(leaves in prop::collection::vec(leaf(), 0..8)) {
        let array = leaves.concat();
        let mut table = table_of(Value::Array(Array { bytes: &array }));
        let inner = table.clone();
        table.put("inner", Value::Table(inner.as_table()));
        let bytes = table.as_table().as_bytes().to_vec();
        let read = Table::check(&bytes).unwrap();
        let mut again = TableBuffer::default();
        for (key, value) in read.iter() {
            again.put(key, value);
        }
        prop_assert_eq!(again.as_table().as_bytes(), &bytes[..]);
        let Some(Value::Array(array)) = read.get("k") else { panic!("the array is gone") };
        prop_assert_eq!(array.iter().count(), leaves.len());
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
        if let Ok(table) = Table::check(&bytes) {
            table.iter().for_each(drop);
        }
    }
}
