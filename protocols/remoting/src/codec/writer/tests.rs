//! Frames written as the reference broker writes them, and read back in both serializers.

use mailrail_message::OffsetId;
use proptest::prelude::*;

use super::*;
use crate::codec::frame::decode;
use crate::codec::testing::{Seen, seen};

fn header_text(out: &BytesMut) -> &str {
    let header = usize::from(u16::from_be_bytes([out[6], out[7]]));
    std::str::from_utf8(&out[8..8 + header]).unwrap()
}

#[test]
fn a_send_is_answered_byte_for_byte_as_by_the_reference_broker() {
    let mut out = BytesMut::new();
    let id = OffsetId { host: "127.0.0.1:21911".parse().unwrap(), position: 0xAFEA };
    FrameWriter::begin(&mut out, Envelope::response(Serializer::Json, 5, 0, None))
        .number("queueId", 2)
        .text("transactionId", "FD000000000000000000000000000002270A30946E096DF79E9F0000")
        .message_id("msgId", id)
        .text("TRACE_ON", "true")
        .text("MSG_REGION", "DefaultRegion")
        .number("queueOffset", 0)
        .finish(0);
    let expected = r#"{"code":0,"extFields":{"queueId":"2","transactionId":"FD000000000000000000000000000002270A30946E096DF79E9F0000","msgId":"7F00000100005597000000000000AFEA","TRACE_ON":"true","MSG_REGION":"DefaultRegion","queueOffset":"0"},"flag":1,"language":"JAVA","opaque":5,"serializeTypeCurrentRPC":"JSON","version":513}"#;
    assert_eq!(header_text(&out), expected);
    assert_eq!(&out[..4], u32::try_from(4 + expected.len()).unwrap().to_be_bytes());
}

#[test]
fn fields_may_be_absent_or_empty_and_remarks_are_escaped() {
    let mut out = BytesMut::new();
    let envelope = Envelope::response(Serializer::Json, 0, 17, Some("No topic: T\nSee"));
    FrameWriter::begin(&mut out, envelope).finish(0);
    assert_eq!(
        header_text(&out),
        r#"{"code":17,"flag":1,"language":"JAVA","opaque":0,"remark":"No topic: T\nSee","serializeTypeCurrentRPC":"JSON","version":513}"#
    );
    out.clear();
    FrameWriter::begin(&mut out, Envelope::response(Serializer::Json, 48, 0, None)).empty_fields().finish(0);
    assert_eq!(
        header_text(&out),
        r#"{"code":0,"extFields":{},"flag":1,"language":"JAVA","opaque":48,"serializeTypeCurrentRPC":"JSON","version":513}"#
    );
}

#[test]
fn the_notice_to_members_is_a_one_way_request() {
    let mut out = BytesMut::new();
    crate::codec::command::notify::put_notice(&mut out, 3185, "g-1");
    assert_eq!(
        header_text(&out),
        r#"{"code":40,"extFields":{"consumerGroup":"g-1"},"flag":2,"language":"JAVA","opaque":3185,"serializeTypeCurrentRPC":"JSON","version":513}"#
    );
}

/// Writes `frame` in one serializer.
fn write(out: &mut BytesMut, serializer: Serializer, frame: &Seen) {
    let envelope = Envelope {
        serializer,
        code: frame.code,
        language: Language::from_name(frame.language.as_bytes()),
        version: i16::try_from(frame.version).unwrap(),
        opaque: frame.opaque,
        flag: frame.flag,
        remark: frame.remark.as_deref(),
    };
    let mut writer = FrameWriter::begin(out, envelope);
    for (key, value) in &frame.fields {
        writer = writer.text(key, value);
    }
    writer.finish(frame.body.len());
    out.extend_from_slice(&frame.body);
}

fn frames() -> impl Strategy<Value = Seen> {
    let fields = prop::collection::vec((".{0,9}", ".{0,40}"), 0..40);
    let remark = prop::option::of(".{1,40}");
    let numbers = (0..=i32::from(i16::MAX), 0..14_u8, any::<i16>(), any::<i32>(), any::<i32>());
    (numbers, remark, fields, any::<Vec<u8>>()).prop_map(|(numbers, remark, fields, body)| {
        let (code, language, version, opaque, flag) = numbers;
        Seen {
            code,
            language: Language(language).name(),
            version: i32::from(version),
            opaque,
            // Cut codes are mapped back in requests only.
            flag: flag | FLAG_RESPONSE,
            remark,
            fields,
            body: body.into(),
        }
    })
}

proptest! {
    #[test]
    fn frames_round_trip_in_both_serializers(list in prop::collection::vec(frames(), 1..4), binary: bool) {
        let serializer = if binary { Serializer::Binary } else { Serializer::Json };
        let mut out = BytesMut::new();
        for frame in &list {
            write(&mut out, serializer, frame);
        }
        for frame in &list {
            let read = decode(&mut out).unwrap().unwrap();
            prop_assert_eq!(read.header.serializer, serializer);
            prop_assert_eq!(&seen(&read), frame);
        }
        prop_assert!(out.is_empty());
    }
}
