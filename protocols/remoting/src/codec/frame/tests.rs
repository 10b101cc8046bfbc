//! Frames cut anywhere, too long, too short, and from random bytes.

use proptest::prelude::*;

use super::*;
use crate::codec::testing::{json_bytes, json_frame, seen};

const SEND: &str = r#"{"code":310,"extFields":{"a":"p-1","b":"T_cap","c":"TBW102","d":"4","e":"2","f":"0","g":"1795336144547","h":"0","i":"KEYS\u0001k-0\u0002WAIT\u0001true\u0002","j":"0","k":"false","m":"false","n":"broker-a"},"flag":0,"language":"JAVA","opaque":5,"serializeTypeCurrentRPC":"JSON","version":513}"#;

/// A binary pull with a remark and two fields.
fn binary_pull() -> BytesMut {
    let header = [
        &[0, 11, 0, 2, 1][..],
        &37_i32.to_be_bytes(),
        &0_i32.to_be_bytes(),
        &2_u32.to_be_bytes(),
        b"hi",
        &26_u32.to_be_bytes(),
        &[0, 5, b't', b'o', b'p', b'i', b'c', 0, 0, 0, 1, b'T'],
        &[0, 7, b'q', b'u', b'e', b'u', b'e', b'I', b'd', 0, 0, 0, 1, b'3'],
    ]
    .concat();
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(&u32::try_from(4 + header.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&(1 << 24 | u32::try_from(header.len()).unwrap()).to_be_bytes());
    bytes.extend_from_slice(&header);
    bytes
}

#[test]
fn a_binary_header_reads_like_its_json_form() {
    let binary = seen(&decode(&mut binary_pull()).unwrap().unwrap());
    let json = r#"{"code":11,"extFields":{"topic":"T","queueId":"3"},"flag":0,"language":"JAVA","opaque":37,"remark":"hi","version":513}"#;
    assert_eq!(binary, seen(&json_frame(json, b"").unwrap()));
}

#[test]
fn every_split_point_gives_the_same_frames() {
    let stream =
        [&json_bytes(SEND, b"body-0")[..], &binary_pull(), &json_bytes(r#"{"code":34}"#, b"")].concat();
    let mut whole = BytesMut::from(&stream[..]);
    let mut expected = Vec::new();
    while let Some(frame) = decode(&mut whole).unwrap() {
        expected.push(seen(&frame));
    }
    assert_eq!(expected.iter().map(|frame| frame.code).collect::<Vec<_>>(), [310, 11, 34]);
    for cut in 0..=stream.len() {
        let (first, second) = stream.split_at(cut);
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for part in [first, second] {
            buffer.extend_from_slice(part);
            while let Some(frame) = decode(&mut buffer).unwrap() {
                frames.push(seen(&frame));
            }
        }
        assert_eq!(frames, expected, "cut at {cut}");
        assert!(buffer.is_empty(), "cut at {cut}");
    }
}

#[test]
fn lengths_are_refused_before_the_rest_arrives() {
    let too_long = u32::try_from(FRAME_BYTES_MAX - 3).unwrap();
    let longest = u32::try_from(FRAME_BYTES_MAX - 4).unwrap();
    let header = u32::try_from(HEADER_BYTES_MAX).unwrap();
    for (words, expected) in [
        (vec![too_long], Some(FrameError::TooLarge { bytes: FRAME_BYTES_MAX + 1 })),
        (vec![u32::MAX], Some(FrameError::TooLarge { bytes: 4_294_967_299 })),
        (vec![longest], None),
        (vec![3], Some(FrameError::TooShort { bytes: 7 })),
        (vec![20, 0x0200_0004], Some(FrameError::UnknownSerializer(2))),
        (vec![20, 17], Some(FrameError::HeaderOutsideFrame { header: 17, frame: 24 })),
        (vec![20, 16], None),
        (vec![longest, header + 1], Some(FrameError::HeaderTooLarge { bytes: HEADER_BYTES_MAX + 1 })),
        (vec![longest, header], None),
    ] {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        match (decode(&mut BytesMut::from(&bytes[..])), expected) {
            (Ok(None), None) => {}
            (Err(error), Some(expected)) => assert_eq!(error, expected, "{words:?}"),
            (other, expected) => panic!("{words:?}: {other:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn the_body_may_be_absent_and_belongs_to_its_frame() {
    assert_eq!(json_frame(r#"{"code":34}"#, b"").unwrap().body, Bytes::new());
    assert_eq!(json_frame(r#"{"code":34}"#, b"abc").unwrap().body, "abc");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = decode(&mut buffer) {}
    }

    #[test]
    fn random_headers_never_panic(header in prop::collection::vec(any::<u8>(), 0..80), binary: bool) {
        let mut buffer = BytesMut::new();
        let length = u32::try_from(header.len()).unwrap();
        buffer.extend_from_slice(&(length + 4).to_be_bytes());
        buffer.extend_from_slice(&(u32::from(binary) << 24 | length).to_be_bytes());
        buffer.extend_from_slice(&header);
        let _ = decode(&mut buffer);
    }

    /// One byte of a good frame changed: an error or a frame whose text can be read, never a panic.
    #[test]
    fn damaged_frames_never_panic(at in 8_usize..400, byte: u8, binary: bool) {
        let mut buffer = if binary { binary_pull() } else { json_bytes(SEND, b"body") };
        let at = 8 + (at - 8) % (buffer.len() - 8);
        buffer[at] = byte;
        if let Ok(Some(frame)) = decode(&mut buffer) {
            seen(&frame);
            let _ = crate::codec::Command::parse(&frame);
        }
    }
}
