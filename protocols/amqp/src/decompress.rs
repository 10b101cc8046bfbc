//! Bodies that RocketMQ clients compressed: AMQP readers cannot know, so they get them plain.
//!
//! Bounded: a body that grows beyond the limit stays as it is.

use std::io::Read;

use bytes::Bytes;
use mailrail_message::{BODY_BYTES_MAX, Compression};

/// The plain body; `None` when it cannot be had.
pub(crate) fn plain(compression: Compression, body: &[u8]) -> Option<Bytes> {
    match compression {
        Compression::Zlib => read_all(flate2::read::ZlibDecoder::new(body)),
        Compression::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(body)),
        Compression::Zstd => read_all(ruzstd::decoding::StreamingDecoder::new(body).ok()?),
    }
}

/// The name that a reader needs to undo the compression itself.
pub(crate) fn encoding_name(compression: Compression) -> &'static str {
    match compression {
        Compression::Zlib => "deflate",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

fn read_all(reader: impl Read) -> Option<Bytes> {
    let max = u64::try_from(BODY_BYTES_MAX).ok()?;
    let mut body = Vec::new();
    reader.take(max + 1).read_to_end(&mut body).ok()?;
    (body.len() <= BODY_BYTES_MAX).then(|| Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn zlib(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn each_codec_gives_the_body_back() {
        let body = b"mailrail ".repeat(1_000);
        assert_eq!(plain(Compression::Zlib, &zlib(&body)).as_deref(), Some(&body[..]));
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(&body).unwrap();
        assert_eq!(plain(Compression::Lz4, &encoder.finish().unwrap()).as_deref(), Some(&body[..]));
        // "hello" as one raw block, as `zstd` writes short input.
        let zstd = b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello";
        assert_eq!(plain(Compression::Zstd, zstd).as_deref(), Some(&b"hello"[..]));
    }

    #[test]
    fn a_bomb_and_garbage_stay_as_they_are() {
        assert!(plain(Compression::Zlib, &zlib(&vec![0; BODY_BYTES_MAX])).is_some());
        assert!(plain(Compression::Zlib, &zlib(&vec![0; BODY_BYTES_MAX + 1])).is_none());
        for compression in [Compression::Zlib, Compression::Lz4, Compression::Zstd] {
            assert!(plain(compression, b"garbage").is_none());
        }
    }
}
