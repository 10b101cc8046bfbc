//! Points in time as the API shows them: RFC 3339 text over milliseconds of the Unix epoch.

use std::borrow::Cow;
use std::io::Write as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Last millisecond that RFC 3339 can name: the end of the year 9999.
const WALL_MS_MAX: u64 = 253_402_300_799_999;
/// Bytes of the longest RFC 3339 text that is written here.
const TEXT_BYTES_MAX: usize = 24;

/// Milliseconds of the Unix epoch, written and read as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WallTime(pub u64);

impl WallTime {
    /// Reads RFC 3339 text; what is finer than a millisecond is cut off.
    pub fn parse(text: &str) -> Result<WallTime, String> {
        let time = OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| format!("{text:?} is no time in RFC 3339, such as 2026-01-31T12:00:00Z"))?;
        let ms = time.unix_timestamp_nanos().div_euclid(1_000_000);
        u64::try_from(ms).map(WallTime).map_err(|_| format!("{text:?} lies before 1970"))
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nanos = i128::from(self.0.min(WALL_MS_MAX)) * 1_000_000;
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(serde::ser::Error::custom)?;
        let mut text = [0; TEXT_BYTES_MAX];
        let mut rest = &mut text[..];
        time.format_into(&mut rest, &Rfc3339).map_err(serde::ser::Error::custom)?;
        rest.flush().map_err(serde::ser::Error::custom)?;
        let written = TEXT_BYTES_MAX - rest.len();
        let text = std::str::from_utf8(text.get(..written).unwrap_or(&[])).unwrap_or_default();
        serializer.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        WallTime::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_336_144_547, "2026-11-22T08:29:04.547Z"),
            (WALL_MS_MAX, "9999-12-31T23:59:59.999Z"),
        ];
        for (ms, text) in cases {
            assert_eq!(serde_json::to_string(&WallTime(ms)).unwrap(), format!("{text:?}"));
            assert_eq!(WallTime::parse(text), Ok(WallTime(ms)));
        }
        assert_eq!(serde_json::to_value(WallTime(u64::MAX)).unwrap(), "9999-12-31T23:59:59.999Z");
        assert_eq!(TEXT_BYTES_MAX, cases[2].1.len(), "no text is longer, and this one fits");
        assert_eq!(WallTime::parse("1970-01-01T02:00:00.0019+01:00"), Ok(WallTime(3_600_001)));
        for bad in ["", "now", "2026-01-01", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z"] {
            assert!(WallTime::parse(bad).is_err(), "{bad}");
        }
    }
}
