//! Bodies as readers want them: what a RocketMQ producer compressed is decompressed, within the limit that holds for all
//! bodies. One that cannot be is handed out as it is, and its coding named. Does not look at properties.

use std::borrow::Cow;
use std::io::Read;

use mailrail_message::{BODY_BYTES_MAX, Compression, StoredMessage};

/// A body, and the coding it is still in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plain<'a> {
    pub bytes: Cow<'a, [u8]>,
    pub coding: Option<&'static str>,
}

/// Takes the producer's compression off a body.
pub(crate) fn plain<'a>(stored: &StoredMessage<'a>) -> Plain<'a> {
    let body = stored.body();
    let Some(compression) = stored.compression() else {
        return Plain { bytes: Cow::Borrowed(body), coding: None };
    };
    match decompress(compression, body) {
        Some(plain) => Plain { bytes: Cow::Owned(plain), coding: None },
        None => Plain { bytes: Cow::Borrowed(body), coding: Some(name(compression)) },
    }
}

fn name(compression: Compression) -> &'static str {
    match compression {
        Compression::Zlib => "deflate",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

fn decompress(compression: Compression, body: &[u8]) -> Option<Vec<u8>> {
    match compression {
        Compression::Zlib => read_bounded(flate2::read::ZlibDecoder::new(body)),
        Compression::Lz4 => read_bounded(lz4_flex::frame::FrameDecoder::new(body)),
        Compression::Zstd => read_bounded(ruzstd::decoding::StreamingDecoder::new(body).ok()?),
    }
}

/// All that a decoder gives; `None` when it fails or gives more than a body may have.
fn read_bounded(decoder: impl Read) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let limit = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX);
    decoder.take(limit + 1).read_to_end(&mut plain).ok()?;
    (plain.len() <= BODY_BYTES_MAX).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn lz4(plain: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn decompresses_up_to_the_limit_and_not_beyond() {
        type Encode = fn(&[u8]) -> Vec<u8>;
        let codecs: [(Compression, Encode); 3] =
            [(Compression::Zlib, zlib), (Compression::Lz4, lz4), (Compression::Zstd, zstd)];
        for (compression, encode) in codecs {
            for len in [0, 1, 5_000, BODY_BYTES_MAX] {
                let plain = vec![b'x'; len];
                assert_eq!(decompress(compression, &encode(&plain)), Some(plain), "{compression:?} {len}");
            }
            assert_eq!(decompress(compression, &encode(&vec![0; BODY_BYTES_MAX + 1])), None);
            assert_eq!(decompress(compression, b"not compressed at all"), None);
        }
    }
}
