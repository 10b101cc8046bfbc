//! Text into tokens, each with the byte where it begins.

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, tag_no_case, take_till, take_until, take_while, take_while1};
use nom::character::complete::{char, digit0, digit1, hex_digit1, oct_digit1, one_of, satisfy};
use nom::combinator::{opt, value};
use nom::multi::{fold_many0, many0_count};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

use super::value::Constant;
use super::{Dialect, FilterError, Misuse};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A property's name or a reserved word.
    Word(&'a str),
    Text(String),
    Number(Constant),
    Sign(&'static str),
    End,
}

/// A token, and the bytes of the text that it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Located<'a> {
    pub at: usize,
    pub text: &'a str,
    pub token: Token<'a>,
}

type Read<'a, T> = IResult<&'a str, T>;

/// All tokens of a text; the last is [`Token::End`].
pub(super) fn read(text: &str, dialect: Dialect) -> Result<Vec<Located<'_>>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = behind_blanks(text, dialect);
    while !rest.is_empty() {
        let at = text.len() - rest.len();
        let (behind, token) = token(rest, at, dialect)?;
        let len = rest.len() - behind.len();
        tokens.push(Located { at, text: rest.get(..len).unwrap_or(rest), token });
        rest = behind_blanks(behind, dialect);
    }
    tokens.push(Located { at: text.len(), text: "the end", token: Token::End });
    Ok(tokens)
}

/// RocketMQ's comments are blanks too. In a selector two minus signs are two minus signs.
fn behind_blanks(text: &str, dialect: Dialect) -> &str {
    let blanks = take_while1(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0C'));
    let line = preceded(tag("--"), take_till(|c| c == '\n' || c == '\r'));
    let block = delimited(tag("/*"), take_until("*/"), tag("*/"));
    let read: Read<'_, usize> = match dialect {
        Dialect::Rocketmq => many0_count(alt((blanks, line, block))).parse(text),
        Dialect::Jms => many0_count(blanks).parse(text),
    };
    read.map_or(text, |(rest, _)| rest)
}

fn token(text: &str, at: usize, dialect: Dialect) -> Result<(&str, Token<'_>), FilterError> {
    if let Ok((rest, name)) = name(text) {
        return Ok((rest, Token::Word(name)));
    }
    if text.starts_with('\'') {
        let open = |_| FilterError::Syntax { at, expected: "a closing quote", found: "the end".into() };
        return quoted(text).map(|(rest, text)| (rest, Token::Text(text))).map_err(open);
    }
    if let Ok((rest, digits)) = fraction(text) {
        let rest = if dialect == Dialect::Jms {
            rest.strip_prefix(['f', 'F', 'd', 'D']).unwrap_or(rest)
        } else {
            rest
        };
        return Ok((rest, Token::Number(double(digits, at, dialect)?)));
    }
    if let Ok((rest, number)) = whole(text, dialect) {
        return Ok((rest, Token::Number(long(number, at)?)));
    }
    let sign = dialect.signs().find_map(|sign| Some((text.strip_prefix(sign)?, Token::Sign(sign))));
    sign.ok_or_else(|| {
        let found = text.chars().next().unwrap_or_default();
        FilterError::Syntax {
            at,
            expected: "a word, a number, text in single quotes or an operator",
            found: format!("{found:?}"),
        }
    })
}

fn name(text: &str) -> Read<'_, &str> {
    let first = satisfy(|c| c.is_ascii_alphabetic() || c == '_' || c == '$');
    span(text, (first, take_while(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$')))
}

/// A quote inside is written twice.
fn quoted(text: &str) -> Read<'_, String> {
    let part = alt((is_not("'"), value("'", tag("''"))));
    let join = |mut joined: String, part: &str| {
        joined.push_str(part);
        joined
    };
    delimited(char('\''), fold_many0(part, String::new, join), char('\'')).parse(text)
}

fn fraction(text: &str) -> Read<'_, &str> {
    let exponent = || (one_of("eE"), opt(one_of("+-")), digit1);
    let both = value((), (digit1, char('.'), digit0, opt(exponent())));
    let behind_point = value((), (char('.'), digit1, opt(exponent())));
    span(text, alt((both, behind_point, value((), (digit1, exponent())))))
}

/// A whole number as digits and their base. RocketMQ's never begins with a zero that it does not end with.
fn whole(text: &str, dialect: Dialect) -> Read<'_, (&str, u32)> {
    let (rest, (digits, base)) = match (dialect, text.starts_with('0')) {
        (Dialect::Rocketmq, true) => return value(("0", 10), char('0')).parse(text),
        (Dialect::Jms, true) => {
            let hexadecimal = preceded(tag_no_case("0x"), hex_digit1).map(|digits| (digits, 16));
            alt((hexadecimal, oct_digit1.map(|digits| (digits, 8)))).parse(text)?
        }
        (_, false) => digit1.map(|digits| (digits, 10)).parse(text)?,
    };
    Ok((rest.strip_prefix(['l', 'L']).unwrap_or(rest), (digits, base)))
}

/// The text that a parser takes. By length: what it leaves of a text that it takes to the end need not point there.
fn span<'a, T>(
    text: &'a str,
    mut parser: impl Parser<&'a str, Output = T, Error = nom::error::Error<&'a str>>,
) -> Read<'a, &'a str> {
    let (rest, _) = parser.parse(text)?;
    let (taken, rest) = text.split_at_checked(text.len() - rest.len()).unwrap_or((text, ""));
    Ok((rest, taken))
}

/// What fits 32 bits is an int, however it was written.
fn long((digits, base): (&str, u32), at: usize) -> Result<Constant, FilterError> {
    let number = i64::from_str_radix(digits, base)
        .map_err(|_| FilterError::Misuse { at, misuse: Misuse::NumberRange })?;
    Ok(i32::try_from(number).map_or(Constant::Long(number), Constant::Int))
}

/// RocketMQ takes no zero here: it is not above Java's smallest double.
fn double(digits: &str, at: usize, dialect: Dialect) -> Result<Constant, FilterError> {
    let number: f64 = digits.parse().unwrap_or(f64::INFINITY);
    if number.is_infinite() || (number == 0.0 && dialect == Dialect::Rocketmq) {
        return Err(FilterError::Misuse { at, misuse: Misuse::NumberRange });
    }
    Ok(Constant::Double(number))
}
