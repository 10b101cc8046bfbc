//! Values, and how text becomes one: as Java's `valueOf` reads it.

/// What a node comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Missing, or unknown.
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(&'a str),
}

/// Text that is not the number it is compared with, or a boolean compared with text: the message does not match,
/// whatever the rest of the expression says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit;

/// A value that stands in an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(Box<str>),
}

impl Constant {
    pub fn value(&self) -> Value<'_> {
        match self {
            Constant::Null => Value::Null,
            Constant::Bool(is_true) => Value::Bool(*is_true),
            Constant::Int(number) => Value::Int(*number),
            Constant::Long(number) => Value::Long(*number),
            Constant::Double(number) => Value::Double(*number),
            Constant::Text(text) => Value::Text(text),
        }
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Constant::Int(_) | Constant::Long(_) | Constant::Double(_))
    }
}

pub(super) fn to_int(text: &str) -> Result<i32, Unfit> {
    text.parse().map_err(|_| Unfit)
}

pub(super) fn to_long(text: &str) -> Result<i64, Unfit> {
    text.parse().map_err(|_| Unfit)
}

/// Blanks around it do not count, and it may say that it is a `d` or an `f`.
pub(super) fn to_double(text: &str) -> Result<f64, Unfit> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        // Java knows one NaN, whatever its sign.
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return text.parse().map_err(|_| Unfit),
        _ => {}
    }
    // Rust reads more words than Java does.
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(Unfit);
    }
    text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text).parse().map_err(|_| Unfit)
}

/// Everything but "true" is false.
pub(super) fn to_bool(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

#[expect(clippy::as_conversions, reason = "rounds to the nearest double, as Java does")]
pub(super) fn long_to_double(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_a_double_as_in_java() {
        for (text, expected) in [
            ("5", 5.0),
            ("+5.", 5.0),
            ("-.5", -0.5),
            ("5e3", 5_000.0),
            (" 5E-1\t", 0.5),
            ("5d", 5.0),
            ("1e2F", 100.0),
            ("Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e999", f64::INFINITY),
        ] {
            assert_eq!(to_double(text), Ok(expected), "{text:?}");
        }
        assert!(to_double("-NaN").unwrap().is_nan());
        for text in
            ["", " ", ".", "e5", "inf", "infinity", "nan", "5 5", "5dd", "--5", "Infinityd", "5e", "x"]
        {
            assert_eq!(to_double(text), Err(Unfit), "{text:?}");
        }
    }

    #[test]
    fn text_becomes_a_whole_number_as_in_java() {
        assert_eq!([to_int("+7"), to_int("-0"), to_int("007")], [Ok(7), Ok(0), Ok(7)]);
        for text in ["", "-", "5.0", " 5", "5L", "2147483648", "1_0"] {
            assert_eq!(to_int(text), Err(Unfit), "{text:?}");
        }
        assert_eq!(to_long("2147483648"), Ok(2_147_483_648));
        assert_eq!(to_long("9223372036854775808"), Err(Unfit));
    }
}
