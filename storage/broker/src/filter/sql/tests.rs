//! What expressions mean, where they are refused, and what bounds them.

use std::collections::HashMap;

use super::*;
use crate::filter::Fields;
use crate::limits::*;

/// Properties with their types: text as it stands, others as JMS has them.
struct Message<'a>(HashMap<&'a str, Value<'a>>);

impl Fields for Message<'_> {
    fn field(&self, name: &str) -> Value<'_> {
        self.0.get(name).copied().unwrap_or(Value::Null)
    }
}

/// `a=1 b=x` as text properties.
fn message(properties: &str) -> Message<'_> {
    let pairs = properties.split(' ').filter_map(|pair| pair.split_once('='));
    Message(pairs.map(|(name, value)| (name, Value::Text(value))).collect())
}

fn is_true(dialect: Dialect, text: &str, message: &Message<'_>) -> bool {
    Expression::parse(text, dialect).unwrap_or_else(|error| panic!("{text}: {error}")).is_true_of(message)
}

/// Lines of `expression | properties that match ; more | properties that do not`.
fn check(dialect: Dialect, cases: &str) {
    for case in cases.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let [text, matching, others] = case.split('|').collect::<Vec<_>>()[..] else { panic!("{case}") };
        for (list, expected) in [(matching, true), (others, false)] {
            for properties in list.split(';').map(str::trim).filter(|properties| !properties.is_empty()) {
                let properties = properties.trim_matches('-');
                assert_eq!(
                    is_true(dialect, text, &message(properties)),
                    expected,
                    "{text} of {properties:?}"
                );
            }
        }
    }
}

#[test]
fn text_is_converted_as_the_other_side_asks() {
    check(
        Dialect::Rocketmq,
        "a = 5            | a=5; a=+5; a=05             | a=5.0; a=6; a=x; a=5L; -
         a = 5.0          | a=5; a=5.0; a=5d            | a=x; a=NaN; -
         a > 5            | a=6                         | a=5; a=6.5; a=3000000000; a=x; -
         a > 5L           | a=6                         | a=3000000000
         a > 2147483648   | a=3000000000                | a=9223372036854775808
         a > 5.5          | a=6; a=NaN; a=Infinity      | a=5.5; a=x
         a < -2147483648  | a=-2147483649               | a=-1
         a = 'x'          | a=x                         | a=X; -
         a = '5'          | a=5                         | a=5.0
         a = TRUE         | a=true; a=TRUE              | a=1; a=yes; -
         a = FALSE        | a=false; a=no; a=1          | a=true; -
         TRUE = a         |                             | a=true; a=false; -
         a < b            | a=5 b=5.5; a=9 b=10         | a=x b=y; a=5; b=5
         a = b            | a=x b=x; -                  | a=5 b=5.0; a=x; b=x",
    );
}

#[test]
fn a_missing_property_is_unknown_on_the_left_and_different_on_the_right() {
    check(
        Dialect::Rocketmq,
        "a <> 5               | a=6         | a=5; a=x; -
         NOT (a = 5)          | a=6         | a=5; -
         'x' <> a             | a=y; -      | a=x
         a <> b               | a=x b=y; a=x | b=x; -
         a = 1 OR b = 2       | a=1; b=2; a=1 b=x | a=x b=2; -
         a = 1 AND b = 2      | a=1 b=2     | a=1; b=2
         NOT (a = 1 AND b = 2) | b=3; a=2   | a=1; b=2; a=1 b=2
         a IS NULL            | b=1; -      | a=1
         a IS NOT NULL        | a=1         | -
         (a > 1) IS NULL      | -           | a=1; a=2; a=x
         a IN ('1', 'x')      | a=1; a=x    | a=2; -
         a NOT IN ('1', 'x')  | a=2         | a=1; -
         a CONTAINS 'b'       | a=abc       | a=ac; -
         a NOT CONTAINS 'b'   | a=ac        | a=abc; -
         NOT (a CONTAINS 'b') | a=ac; -     | a=abc
         a CONTAINS ''        |             | a=x; -
         a NOT CONTAINS ''    |             | a=x; -
         a STARTSWITH 'ab'    | a=abc       | a=bab; -
         a NOT ENDSWITH 'b'   | a=abc       | a=ab; -
         a BETWEEN 2 AND 4    | a=2; a=4    | a=1; a=5; a=x; -
         a NOT BETWEEN 2 AND 4 | a=1; a=5   | a=2; a=4; -
         a BETWEEN b AND 4    | a=2 b=2     | a=2; a=5; b=1
         a NOT BETWEEN b AND 4 | a=5; a=1 b=2 | a=3; a=3 b=2",
    );
}

#[test]
fn a_failed_conversion_fails_the_message_where_it_is_met() {
    check(
        Dialect::Rocketmq,
        "a > 1 OR b = 'x'       | a=2; b=x   | a=y b=x
         b = 'x' OR a > 1       | a=y b=x    | a=y b=z
         NOT (a > 1)            | a=1        | a=y
         b = 'x' AND NOT (a > 1) | b=x a=0   | b=x a=y
         (b = 'x') = a          |            | a=true b=x; a=false b=y
         a = (b = 'x')          | a=true b=x; a=no b=y | a=true b=y",
    );
}

#[test]
fn precedence_is_rocketmqs() {
    check(
        Dialect::Rocketmq,
        "NOT a = 1                    |                | a=1; a=2; -
         NOT a = TRUE                 | a=x; a=true    | -
         a = 1 OR b = 1 AND c = 1     | a=1; b=1 c=1   | b=1; c=1
         a = 1 = TRUE                 | a=1            | a=2
         a > 1 = FALSE                | a=1            | a=2
         a = 12                       | a=12           | a=1
         flag=a12                     | flag=x a12=x   | flag=x a=x
         a                            |                | a=true; a=x; -
         NOT a                        | a=true; a=x    | -
         TRUE AND a = 1               | a=1            | a=2
         a = 1 OR NULL                | a=1            | a=2
         - a = 5                      |                | a=-5; a=5
         + a = - - 5                  | a=5            | a=-5
         a = 1 -- no more             | a=1            | a=2
         a /* here * too */ = 1       | a=1            | a=2
         a\t= 1 AnD b Is nOt NULL     | a=1 b=1        | a=1
         $_1 = 'it''s'                | $_1=it's       | $_1=its
         'abc' CONTAINS 'b'           | -              |
         5 CONTAINS '5'               |                | -",
    );
}

#[test]
fn selectors_follow_jms() {
    check(
        Dialect::Jms,
        "NOT a = 'x'                | a=y        | a=x; -
         NOT a = 'x' AND b = 'y'    | b=y a=y    | b=z a=y
         a = 5                      |            | a=5; -
         a <> 5                     |            | a=5; a=x; -
         a = b                      | a=x b=x    | a=x; b=x; -
         a <> b                     | a=x b=y    | a=x; b=x; -
         a LIKE 'x%'                | a=x; a=xyz | a=yx; -
         a NOT LIKE 'x_'            | a=x        | a=xy; -
         a LIKE '!%_' ESCAPE '!'    | a=%x       | a=xx
         a IN ('x', 'y')            | a=x        | a=z; -
         CONTAINS = 'x'             | CONTAINS=x | -
         1 + 2 * 3 = 7              | -          |
         (1 + 2) * 3 = 9            | -          |
         7 / 2 = 3 AND 7 / 2.0 = 3.5 | -         |
         1 - 1 - 1 = -1             | -          |
         1 / 0 = 1                  |            | -
         0x1F = 31 AND 017 = 15 AND 1.5f = 1.5 | - |
         5 BETWEEN 1 + 1 AND 2 * 3  | -          |
         a + 1 > 0                  |            | a=5; -",
    );
    let typed = Message([("n", Value::Int(4)), ("d", Value::Double(4.5)), ("yes", Value::Bool(true))].into());
    for text in
        ["n > 3", "n + d = 8.5", "n BETWEEN 4 AND d", "yes", "yes = TRUE", "yes <> FALSE", "NOT (n = 'x')"]
    {
        assert!(is_true(Dialect::Jms, text, &typed), "{text}");
    }
    for text in ["n = '4'", "NOT yes", "yes > 1", "n LIKE '4'", "n"] {
        let refused = Expression::parse(text, Dialect::Jms).is_err();
        assert!(refused || !is_true(Dialect::Jms, text, &typed), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let misuse = |at, misuse| FilterError::Misuse { at, misuse };
    let syntax = |at, expected, found: &str| FilterError::Syntax { at, expected, found: found.into() };
    let operand = "a property, a literal or (";
    for (text, error) in [
        ("", syntax(0, operand, "the end")),
        ("a =", syntax(3, operand, "the end")),
        ("a = 1 b", syntax(6, "an operator or the end", "b")),
        ("a = 10x", syntax(6, "an operator or the end", "x")),
        ("a = 007", syntax(5, "an operator or the end", "0")),
        ("(a = 1", syntax(6, ")", "the end")),
        ("a == 1", syntax(3, operand, "=")),
        ("a and between 2 and 10", syntax(6, operand, "between")),
        ("a BETWEEN 1 OR 2", syntax(12, "AND", "OR")),
        ("a IN (1)", syntax(6, "text in single quotes", "1")),
        ("a IN ()", syntax(6, "text in single quotes", ")")),
        ("a IN 'x'", syntax(5, "(", "'x'")),
        ("a IS 1", syntax(5, "NULL", "1")),
        ("a LIKE 'x'", syntax(2, "an operator or the end", "LIKE")),
        ("a = 'x", syntax(4, "a closing quote", "the end")),
        ("a > NULL", misuse(4, Misuse::NotOrdered)),
        ("a > 'x'", misuse(4, Misuse::NotOrdered)),
        ("TRUE < a", misuse(0, Misuse::NotOrdered)),
        ("(a = 1) > 2", misuse(0, Misuse::NotOrdered)),
        ("a BETWEEN 'x' AND 'y'", misuse(10, Misuse::NotOrdered)),
        ("a BETWEEN 10 AND 0", misuse(10, Misuse::BoundsCrossed)),
        ("a = NULL", misuse(4, Misuse::EqualsNull)),
        ("NULL <> a", misuse(0, Misuse::EqualsNull)),
        ("TRUE = 1", misuse(7, Misuse::BooleanWithOther)),
        ("'x' IN ('x')", misuse(0, Misuse::NotProperty)),
        ("a = 1 AND 5", misuse(10, Misuse::NotBoolean)),
        ("'x'", misuse(0, Misuse::NotBoolean)),
        ("- a", misuse(0, Misuse::NotBoolean)),
        ("a = 0.0", misuse(4, Misuse::NumberRange)),
        ("a = 1e400", misuse(4, Misuse::NumberRange)),
        ("a = 9223372036854775808", misuse(4, Misuse::NumberRange)),
    ] {
        assert_eq!(Expression::parse(text, Dialect::Rocketmq), Err(error), "{text}");
    }
    for text in ["a != 1", "a = \"x\"", "a && b", "é = 1", "a = 1;"] {
        let error = Expression::parse(text, Dialect::Rocketmq).unwrap_err();
        assert!(matches!(error, FilterError::Syntax { .. }), "{text}: {error}");
    }
    for text in ["a NOT BETWEEN 10 AND 0", "a BETWEEN 10 AND -5", "1 = TRUE", "a IS NULL IS NULL", "NULL"] {
        assert!(Expression::parse(text, Dialect::Rocketmq).is_ok(), "{text}");
    }
    for (text, error) in [
        ("a LIKE 'x' ESCAPE ''", misuse(11, Misuse::Escape)),
        ("a LIKE 'x' ESCAPE 'xy'", misuse(11, Misuse::Escape)),
        ("a LIKE 'x!' ESCAPE '!'", misuse(12, Misuse::Escape)),
        ("5 LIKE 'x'", misuse(0, Misuse::NotProperty)),
        ("a CONTAINS 'x'", syntax(2, "an operator or the end", "CONTAINS")),
        ("a = 1 + ", syntax(8, operand, "the end")),
        ("a + 1", misuse(0, Misuse::NotBoolean)),
    ] {
        assert_eq!(Expression::parse(text, Dialect::Jms), Err(error), "{text}");
    }
}

#[test]
fn an_error_shows_no_more_of_the_text_than_helps() {
    let max = FILTER_ERROR_SHOWN_CHARACTERS_MAX;
    for (characters, shown) in [(max - 1, max - 1), (max, max), (max + 1, max)] {
        let word = "w".repeat(characters);
        let found = match Expression::parse(&format!("a = 1 {word}"), Dialect::Rocketmq) {
            Err(FilterError::Syntax { found, .. }) => found,
            other => panic!("{other:?}"),
        };
        assert_eq!(found.chars().count(), shown);
    }
}

#[test]
fn length_nesting_and_terms_are_bounded() {
    let parse = |text: &str| Expression::parse(text, Dialect::Rocketmq);
    let long = |bytes: usize| format!("a='{}'", "x".repeat(bytes - 4));
    assert!(parse(&long(FILTER_BYTES_MAX)).is_ok());
    let bytes = FILTER_BYTES_MAX + 1;
    assert_eq!(parse(&long(bytes)), Err(FilterError::TooLong { bytes }));

    let inside = |levels: usize| format!("{}a=1{}", "(".repeat(levels), ")".repeat(levels));
    assert!(parse(&inside(FILTER_DEPTH_MAX)).is_ok());
    let at = FILTER_DEPTH_MAX + 1;
    assert_eq!(parse(&inside(FILTER_DEPTH_MAX + 1)), Err(FilterError::TooDeep { at }));

    // A comparison is two levels: itself and what it compares.
    let chain = |tests: usize| format!("a{}", " IS NULL".repeat(tests));
    assert!(parse(&chain(FILTER_DEPTH_MAX - 1)).is_ok());
    assert_eq!(parse(&chain(FILTER_DEPTH_MAX)), Err(FilterError::TooDeep { at: 0 }));

    // Three for each comparison, and one for all of them.
    let terms = |comparisons: usize| vec!["a=1"; comparisons].join(" OR ");
    assert_eq!((FILTER_TERMS_MAX - 1) % 3, 0);
    assert!(parse(&terms((FILTER_TERMS_MAX - 1) / 3)).is_ok());
    let error = parse(&terms((FILTER_TERMS_MAX - 1) / 3 + 1)).unwrap_err();
    assert!(matches!(error, FilterError::TooManyTerms { .. }), "{error}");

    let list = |texts: usize| format!("a IN ({})", vec!["''"; texts].join(","));
    assert!(parse(&list(FILTER_TERMS_MAX - 2)).is_ok());
    let error = parse(&list(FILTER_TERMS_MAX - 1)).unwrap_err();
    assert!(matches!(error, FilterError::TooManyTerms { .. }), "{error}");
}

#[test]
fn hostile_text_is_an_error_and_no_overflow() {
    for dialect in [Dialect::Rocketmq, Dialect::Jms] {
        for unit in
            ["(", "NOT ", "-", "+ ", "a=", "a IS NULL IS ", "a OR ", "'", "a+", "/*", "a BETWEEN ", "é"]
        {
            for levels in [1_000, 10_000, 100 * 1024] {
                assert!(Expression::parse(&unit.repeat(levels), dialect).is_err(), "{unit:?} x {levels}");
            }
        }
    }
}
