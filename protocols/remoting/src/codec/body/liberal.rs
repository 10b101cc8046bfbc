//! Deserializers for what SDKs write differently: names or ordinals, numbers or text, null or absent lists.
//!
//! Used by the JSON bodies only; header fields are text already.

use serde::{Deserialize, Deserializer};

/// A scalar in whatever JSON type a client chose.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Null(()),
}

/// An integer, also as text; 0 when null. Numbers beyond 64 bits are clamped by the float they come as.
pub(super) fn integer<'de, D: Deserializer<'de>, N: TryFrom<i64> + Default>(from: D) -> Result<N, D::Error> {
    let wide = match Scalar::deserialize(from)? {
        Scalar::Int(number) => number,
        Scalar::Bool(value) => i64::from(value),
        Scalar::Text(text) if text.trim().is_empty() => 0,
        Scalar::Text(text) => text
            .trim()
            .parse()
            .map_err(|_| serde::de::Error::custom(format_args!("`{}` is no integer", shortened(&text))))?,
        Scalar::Null(()) => return Ok(N::default()),
        Scalar::Float(number) => {
            return Err(serde::de::Error::custom(format_args!("{number} is no integer")));
        }
    };
    N::try_from(wide).map_err(|_| serde::de::Error::custom(format_args!("{wide} is out of range")))
}

/// `true`, `"true"`, 1; anything else is false.
pub(super) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(match Scalar::deserialize(from)? {
        Scalar::Bool(value) => value,
        Scalar::Int(number) => number == 1,
        Scalar::Text(text) => text.eq_ignore_ascii_case("true") || text == "1",
        Scalar::Float(_) | Scalar::Null(()) => false,
    })
}

/// Text; empty when null.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(match Scalar::deserialize(from)? {
        Scalar::Text(text) => text,
        Scalar::Int(number) => number.to_string(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Null(()) => String::new(),
    })
}

/// A list; empty when null.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(from)?.unwrap_or_default())
}

/// One of a Java enum's constants, by name in any case or by ordinal.
pub(super) fn constant<'de, D: Deserializer<'de>, T: Copy>(
    from: D,
    what: &str,
    constants: &[(&str, T)],
) -> Result<T, D::Error> {
    let found = match Scalar::deserialize(from)? {
        Scalar::Text(text) => {
            let by_name = constants.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text));
            let ordinal = text.parse::<usize>().ok();
            by_name.or_else(|| ordinal.and_then(|ordinal| constants.get(ordinal)))
        }
        Scalar::Int(ordinal) => usize::try_from(ordinal).ok().and_then(|ordinal| constants.get(ordinal)),
        _ => None,
    };
    found.map(|(_, constant)| *constant).ok_or_else(|| serde::de::Error::custom(format_args!("no {what}")))
}

fn shortened(text: &str) -> String {
    text.chars().take(crate::codec::limits::ERROR_VALUE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::limits::ERROR_VALUE_CHARS_MAX;

    #[test]
    fn an_error_repeats_a_value_up_to_its_limit() {
        // Characters and not bytes.
        let longest = "\u{e9}".repeat(ERROR_VALUE_CHARS_MAX);
        assert_eq!(shortened(&longest), longest);
        assert_eq!(shortened(&format!("{longest}x")), longest);
    }
}
