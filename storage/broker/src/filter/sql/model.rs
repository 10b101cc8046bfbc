//! Random expressions, asked of the compiled form and of an interpreter that is slow and obvious: a tree, owned values,
//! RocketMQ's rules one by one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::filter::Fields;

#[derive(Clone, Debug)]
enum Tree {
    Literal(&'static str),
    Text(&'static str),
    Name(&'static str),
    Sign(&'static str, Box<Tree>),
    Not(Box<Tree>),
    Logic(&'static str, Box<Tree>, Box<Tree>),
    Test(&'static str, Box<Tree>, Box<Tree>),
    Arithmetic(&'static str, Box<Tree>, Box<Tree>),
    Between(bool, Box<Tree>, Box<Tree>, Box<Tree>),
    IsNull(bool, Box<Tree>),
    In(bool, Box<Tree>, Vec<&'static str>),
    Part(bool, &'static str, Box<Tree>, &'static str),
    Like(bool, Box<Tree>, &'static str),
}

#[derive(Clone, Debug, PartialEq)]
enum Object {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(String),
}

use Object::{Bool, Double, Int, Long, Null, Text};

type Properties = BTreeMap<&'static str, &'static str>;
/// `None`: a conversion failed, or the types cannot be compared at all.
type Result<T> = Option<T>;

const NAMES: &[&str] = &["a", "b", "TAGS", "_d$1"];
const TEXTS: &[&str] = &[
    "",
    "5",
    "-5",
    "+5",
    "5.0",
    "5.5",
    "2147483648",
    "9223372036854775808",
    "true",
    "TRUE",
    "false",
    "x",
    "abc",
    "it''s",
    "NaN",
    "1e3",
    " 5 ",
    "Infinity",
    "%b_",
    "é",
];
const LITERALS: &[&str] =
    &["0", "5", "16L", "250", "2147483648", "5.0", "5.5", "1E3", ".25", "TRUE", "false", "NULL"];

fn not(is_negated: bool) -> &'static str {
    if is_negated { " NOT" } else { "" }
}

impl Tree {
    fn print(&self) -> String {
        match self {
            Tree::Literal(literal) => (*literal).to_owned(),
            Tree::Text(text) => format!("'{text}'"),
            Tree::Name(name) => (*name).to_owned(),
            Tree::Sign(sign, value) => format!("({sign} {})", value.print()),
            Tree::Not(value) => format!("(NOT {})", value.print()),
            Tree::Logic(sign, left, right)
            | Tree::Test(sign, left, right)
            | Tree::Arithmetic(sign, left, right) => {
                format!("({} {sign} {})", left.print(), right.print())
            }
            Tree::Between(is_negated, value, low, high) => {
                let (value, low, high) = (value.print(), low.print(), high.print());
                format!("({value}{} BETWEEN {low} AND {high})", not(*is_negated))
            }
            Tree::IsNull(is_negated, value) => format!("({} IS{} NULL)", value.print(), not(*is_negated)),
            Tree::In(is_negated, value, list) => {
                format!("({}{} IN ('{}'))", value.print(), not(*is_negated), list.join("','"))
            }
            Tree::Part(is_negated, word, value, search) => {
                format!("({}{} {word} '{search}')", value.print(), not(*is_negated))
            }
            Tree::Like(is_negated, value, pattern) => {
                format!("({}{} LIKE '{pattern}')", value.print(), not(*is_negated))
            }
        }
    }

    /// A plus sign leaves no trace.
    fn bare(&self) -> &Tree {
        match self {
            Tree::Sign("+", value) => value.bare(),
            tree => tree,
        }
    }

    fn constant(&self) -> Option<Object> {
        match self.bare() {
            Tree::Literal(literal) => Some(literal_object(literal)),
            Tree::Text(text) => Some(Text(text.replace("''", "'"))),
            _ => None,
        }
    }

    fn is_boolean(&self) -> bool {
        match self.bare() {
            Tree::Literal(_) => matches!(self.constant(), Some(Null | Bool(_))),
            Tree::Text(_) | Tree::Name(_) | Tree::Sign(..) | Tree::Arithmetic(..) => false,
            _ => true,
        }
    }

    fn is_property(&self) -> bool {
        matches!(self.bare(), Tree::Name(_))
    }

    fn is_condition(&self) -> bool {
        self.is_boolean() || self.is_property()
    }

    fn has_order(&self) -> bool {
        match self.constant() {
            Some(constant) => matches!(constant, Int(_) | Long(_) | Double(_)),
            None => !self.is_boolean(),
        }
    }

    /// Whether it can be compiled.
    fn is_valid(&self) -> bool {
        match self {
            Tree::Literal(_) | Tree::Text(_) | Tree::Name(_) => true,
            Tree::Sign(_, value) => value.is_valid(),
            Tree::Arithmetic(_, left, right) => left.is_valid() && right.is_valid(),
            Tree::Not(value) => value.is_valid() && value.is_condition(),
            Tree::Logic(_, left, right) => {
                [left, right].into_iter().all(|part| part.is_valid() && part.is_condition())
            }
            Tree::Test("=" | "<>", left, right) => {
                let (left_constant, right_constant) = (left.constant(), right.constant());
                let is_mixed =
                    matches!(left_constant, Some(Bool(_))) && !matches!(right_constant, None | Some(Bool(_)));
                left.is_valid()
                    && right.is_valid()
                    && left_constant != Some(Null)
                    && right_constant != Some(Null)
                    && !is_mixed
            }
            Tree::Test(_, left, right) => {
                [left, right].into_iter().all(|side| side.is_valid() && side.has_order())
            }
            Tree::Between(is_negated, value, low, high) => {
                let is_crossed = match (low.constant(), high.constant()) {
                    (Some(low), Some(high)) => java_compare(&high, &low) == Some(-1),
                    _ => false,
                };
                [value, low, high].into_iter().all(|side| side.is_valid() && side.has_order())
                    && (*is_negated || !is_crossed)
            }
            Tree::IsNull(_, value) | Tree::Part(_, _, value, _) => value.is_valid(),
            Tree::In(_, value, _) | Tree::Like(_, value, _) => value.is_property(),
        }
    }
}

fn literal_object(literal: &str) -> Object {
    match literal.to_ascii_uppercase().as_str() {
        "NULL" => Null,
        "TRUE" => Bool(true),
        "FALSE" => Bool(false),
        number if number.contains(['.', 'E']) => Double(number.parse().unwrap()),
        number => {
            let number: i64 = number.trim_end_matches('L').parse().unwrap();
            i32::try_from(number).map_or(Long(number), Int)
        }
    }
}

/// RocketMQ's rules.
fn java(tree: &Tree, properties: &Properties) -> Result<Object> {
    let boolean = |tree: &Tree| {
        let value = java(tree, properties)?;
        // A property where a boolean is asked for.
        Some(match value {
            Text(_) => Bool(false),
            value => value,
        })
    };
    Some(match tree {
        Tree::Literal(_) | Tree::Text(_) => tree.constant().unwrap(),
        Tree::Name(name) => properties.get(name).map_or(Null, |value| Text((*value).to_owned())),
        Tree::Sign("+", value) => java(value, properties)?,
        Tree::Sign(_, value) => match java(value, properties)? {
            Int(number) => Int(-number),
            Long(number) => Long(-number),
            Double(number) => Double(-number),
            _ => Null,
        },
        Tree::Not(value) => java_not(boolean(value)?),
        Tree::Logic("AND", left, right) => match boolean(left)? {
            Bool(false) => Bool(false),
            left => match (left, boolean(right)?) {
                (_, Bool(false)) => Bool(false),
                (Bool(true), Bool(true)) => Bool(true),
                _ => Null,
            },
        },
        Tree::Logic(_, left, right) => match boolean(left)? {
            Bool(true) => Bool(true),
            left => match (left, boolean(right)?) {
                (_, Bool(true)) => Bool(true),
                (Bool(false), Bool(false)) => Bool(false),
                _ => Null,
            },
        },
        Tree::Test(sign, left, right) => {
            java_test(sign, &java(left, properties)?, &java(right, properties)?)?
        }
        Tree::Between(is_negated, value, low, high) => {
            java(&java_between(*is_negated, value, low, high), properties)?
        }
        Tree::IsNull(is_negated, value) => Bool((java(value, properties)? == Null) != *is_negated),
        Tree::In(is_negated, value, list) => match java(value, properties)? {
            Text(text) => Bool(list.iter().any(|one| one.replace("''", "'") == text) != *is_negated),
            _ => Null,
        },
        Tree::Part(is_negated, word, value, search) => {
            java_part(*is_negated, word, java(value, properties)?, &search.replace("''", "'"))
        }
        Tree::Arithmetic(..) | Tree::Like(..) => unreachable!("{tree:?} is no SQL92"),
    })
}

fn java_between(is_negated: bool, value: &Tree, low: &Tree, high: &Tree) -> Tree {
    let (logic, low_sign, high_sign) = if is_negated { ("OR", "<", ">") } else { ("AND", ">=", "<=") };
    let side = |sign, bound: &Tree| Tree::Test(sign, value.clone().into(), bound.clone().into()).into();
    Tree::Logic(logic, side(low_sign, low), side(high_sign, high))
}

fn java_part(is_negated: bool, word: &str, value: Object, search: &str) -> Object {
    match value {
        Text(text) if !search.is_empty() => {
            let is_in = match word {
                "CONTAINS" => text.contains(search),
                "STARTSWITH" => text.starts_with(search),
                _ => text.ends_with(search),
            };
            Bool(is_in != is_negated)
        }
        _ => Bool(false),
    }
}

fn java_not(value: Object) -> Object {
    match value {
        Bool(is_true) => Bool(!is_true),
        _ => Null,
    }
}

fn java_test(sign: &str, left: &Object, right: &Object) -> Result<Object> {
    if sign == "<>" {
        return Some(java_not(java_test("=", left, right)?));
    }
    if sign == "=" {
        return Some(match (left, right) {
            (Null, Null) => Bool(true),
            (Null, _) => Null,
            (_, Null) => Bool(false),
            (left, right) => Bool(left == right || java_compare(left, right)? == 0),
        });
    }
    let order = match (left, right) {
        (Null, _) | (_, Null) => return Some(Null),
        (Text(left), Text(right)) => java_compare(&Double(java_double(left)?), &Double(java_double(right)?))?,
        (left, right) => java_compare(left, right)?,
    };
    Some(Bool(match sign {
        "<" => order < 0,
        "<=" => order <= 0,
        ">" => order > 0,
        _ => order >= 0,
    }))
}

/// Brings two objects to one class, then compares as that class does; -1 where there is no such class.
fn java_compare(left: &Object, right: &Object) -> Result<i32> {
    let order = |ordering: std::cmp::Ordering| Some(ordering as i32);
    match (left, right) {
        (Text(left), Text(right)) => order(left.cmp(right)),
        (Bool(_), Text(_)) => None,
        (Text(left), Bool(_)) => java_compare(&Bool(left.to_lowercase() == "true"), right),
        (Text(left), Int(_)) => java_compare(&Int(left.parse().ok()?), right),
        (Text(left), Long(_)) => java_compare(&Long(left.parse().ok()?), right),
        (Text(left), Double(_)) => java_compare(&Double(java_double(left)?), right),
        (Int(_), Text(right)) => java_compare(left, &Int(right.parse().ok()?)),
        (Long(_), Text(right)) => java_compare(left, &Long(right.parse().ok()?)),
        (Double(_), Text(right)) => java_compare(left, &Double(java_double(right)?)),
        (Bool(left), Bool(right)) => order(left.cmp(right)),
        (Int(left), Int(right)) => order(left.cmp(right)),
        (Int(left), Long(right)) => order(i64::from(*left).cmp(right)),
        (Long(left), Int(right)) => order(left.cmp(&i64::from(*right))),
        (Long(left), Long(right)) => order(left.cmp(right)),
        (Double(left), Double(right)) => order(left.total_cmp(right)),
        (Double(_), Int(right)) => java_compare(left, &Double(f64::from(*right))),
        (Int(left), Double(_)) => java_compare(&Double(f64::from(*left)), right),
        (Double(_), Long(right)) => java_compare(left, &Double(*right as f64)),
        (Long(left), Double(_)) => java_compare(&Double(*left as f64), right),
        _ => Some(-1),
    }
}

/// For the texts that occur here.
fn java_double(text: &str) -> Result<f64> {
    text.trim().parse().ok()
}

/// The rules of JMS selectors.
fn jms(tree: &Tree, properties: &Properties) -> Object {
    let boolean = |tree: &Tree| match jms(tree, properties) {
        Text(_) => Bool(false),
        value => value,
    };
    match tree {
        Tree::Literal(_) | Tree::Text(_) => tree.constant().unwrap(),
        Tree::Name(name) => properties.get(name).map_or(Null, |value| Text((*value).to_owned())),
        Tree::Sign("+", value) => jms(value, properties),
        Tree::Sign(_, value) => match jms(value, properties) {
            Int(number) => Int(-number),
            Long(number) => Long(-number),
            Double(number) => Double(-number),
            _ => Null,
        },
        Tree::Arithmetic(sign, left, right) => {
            jms_arithmetic(sign, jms(left, properties), jms(right, properties))
        }
        Tree::Not(value) => java_not(boolean(value)),
        Tree::Logic("AND", left, right) => match (boolean(left), boolean(right)) {
            (Bool(false), _) | (_, Bool(false)) => Bool(false),
            (Bool(true), Bool(true)) => Bool(true),
            _ => Null,
        },
        Tree::Logic(_, left, right) => java_not(jms(
            &Tree::Logic("AND", Tree::Not(left.clone()).into(), Tree::Not(right.clone()).into()),
            properties,
        )),
        Tree::Test(sign, left, right) => jms_test(sign, jms(left, properties), jms(right, properties)),
        Tree::Between(is_negated, value, low, high) => {
            let low = Tree::Test(if *is_negated { "<" } else { ">=" }, value.clone(), low.clone());
            let high = Tree::Test(if *is_negated { ">" } else { "<=" }, value.clone(), high.clone());
            let logic = if *is_negated { "OR" } else { "AND" };
            jms(&Tree::Logic(logic, low.into(), high.into()), properties)
        }
        Tree::IsNull(is_negated, value) => Bool((jms(value, properties) == Null) != *is_negated),
        Tree::In(is_negated, value, list) => match jms(value, properties) {
            Text(text) => Bool(list.iter().any(|one| one.replace("''", "'") == text) != *is_negated),
            _ => Null,
        },
        Tree::Like(is_negated, value, pattern) => match jms(value, properties) {
            Text(text) => {
                let (text, pattern) = (text.chars().collect::<Vec<_>>(), pattern.replace("''", "'"));
                Bool(is_like(&text, &pattern.chars().collect::<Vec<_>>()) != *is_negated)
            }
            _ => Null,
        },
        Tree::Part(..) => unreachable!("{tree:?} is no selector"),
    }
}

fn jms_test(sign: &str, left: Object, right: Object) -> Object {
    let is_equality = matches!(sign, "=" | "<>");
    let number = |object: &Object| match object {
        Int(number) => Some(f64::from(*number)),
        Long(number) => Some(*number as f64),
        Double(number) => Some(*number),
        _ => None,
    };
    let ordering = match (&left, &right) {
        (Null, _) | (_, Null) => return Null,
        (Text(left), Text(right)) if is_equality => Some(left.cmp(right)),
        (Bool(left), Bool(right)) if is_equality => Some(left.cmp(right)),
        _ => number(&left).zip(number(&right)).and_then(|(left, right)| left.partial_cmp(&right)),
    };
    Bool(ordering.is_some_and(|ordering| match sign {
        "=" => ordering.is_eq(),
        "<>" => ordering.is_ne(),
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        _ => ordering.is_ge(),
    }))
}

fn jms_arithmetic(sign: &str, left: Object, right: Object) -> Object {
    let whole = |object: &Object| match object {
        Int(number) => Some(i64::from(*number)),
        Long(number) => Some(*number),
        _ => None,
    };
    let double = |object: &Object| match object {
        Double(number) => Some(*number),
        object => whole(object).map(|number| number as f64),
    };
    if let (Some(left), Some(right)) = (whole(&left), whole(&right)) {
        return match sign {
            "+" => Long(left.wrapping_add(right)),
            "-" => Long(left.wrapping_sub(right)),
            "*" => Long(left.wrapping_mul(right)),
            _ if right == 0 => Null,
            _ => Long(left.wrapping_div(right)),
        };
    }
    match (sign, double(&left), double(&right)) {
        ("+", Some(left), Some(right)) => Double(left + right),
        ("-", Some(left), Some(right)) => Double(left - right),
        ("*", Some(left), Some(right)) => Double(left * right),
        (_, Some(left), Some(right)) => Double(left / right),
        _ => Null,
    }
}

fn is_like(text: &[char], pattern: &[char]) -> bool {
    match (pattern, text) {
        ([], text) => text.is_empty(),
        (['%', rest @ ..], text) => (0..=text.len()).any(|skipped| is_like(&text[skipped..], rest)),
        (['_', rest @ ..], [_, text @ ..]) => is_like(text, rest),
        ([wanted, rest @ ..], [found, text @ ..]) => wanted == found && is_like(text, rest),
        _ => false,
    }
}

fn leaf() -> impl Strategy<Value = Tree> + Clone {
    prop_oneof![
        3 => prop::sample::select(NAMES).prop_map(Tree::Name),
        2 => prop::sample::select(LITERALS).prop_map(Tree::Literal),
        1 => prop::sample::select(TEXTS).prop_map(Tree::Text),
    ]
}

/// What is compared: mostly simple, sometimes whatever there is.
fn operand(inner: BoxedStrategy<Tree>, dialect: Dialect) -> BoxedStrategy<Tree> {
    let signed = (prop::sample::select(&["+", "-"][..]), leaf());
    let calculated = (prop::sample::select(&["+", "-", "*", "/"][..]), leaf(), leaf());
    prop_oneof![
        10 => leaf(),
        2 => signed.prop_map(|(sign, value)| Tree::Sign(sign, value.into())),
        1 => inner,
        (if dialect == Dialect::Jms { 3 } else { 0 }) => calculated
            .prop_map(|(sign, left, right)| Tree::Arithmetic(sign, left.into(), right.into())),
    ]
    .boxed()
}

fn test(inner: BoxedStrategy<Tree>, dialect: Dialect) -> BoxedStrategy<Tree> {
    let operand = operand(inner, dialect);
    let signs = prop::sample::select(&["=", "<>", "<", "<=", ">", ">="][..]);
    let texts = || prop::sample::select(TEXTS);
    let words = prop::sample::select(&["CONTAINS", "STARTSWITH", "ENDSWITH"][..]);
    let two = (signs, operand.clone(), operand.clone())
        .prop_map(|(sign, left, right)| Tree::Test(sign, left.into(), right.into()));
    let three = (any::<bool>(), operand.clone(), operand.clone(), operand.clone())
        .prop_map(|(not, value, low, high)| Tree::Between(not, value.into(), low.into(), high.into()));
    let null = (any::<bool>(), operand.clone()).prop_map(|(not, value)| Tree::IsNull(not, value.into()));
    let names = prop_oneof![9 => prop::sample::select(NAMES).prop_map(Tree::Name), 1 => leaf()].boxed();
    let list = (any::<bool>(), names.clone(), prop::collection::vec(texts(), 1..4))
        .prop_map(|(not, value, list)| Tree::In(not, value.into(), list));
    let part = (any::<bool>(), words, operand, texts())
        .prop_map(|(not, word, value, search)| Tree::Part(not, word, value.into(), search));
    let like = (any::<bool>(), names, texts())
        .prop_map(|(not, value, pattern)| Tree::Like(not, value.into(), pattern));
    let text = if dialect == Dialect::Jms { like.boxed() } else { part.boxed() };
    prop_oneof![6 => two, 2 => three, 1 => null, 1 => list, 1 => text].boxed()
}

fn tree(dialect: Dialect) -> BoxedStrategy<Tree> {
    let first = test(leaf().boxed(), dialect);
    first
        .prop_recursive(4, 24, 3, move |inner| {
            let logic = (prop::sample::select(&["AND", "OR"][..]), inner.clone(), inner.clone())
                .prop_map(|(sign, left, right)| Tree::Logic(sign, left.into(), right.into()));
            let not = inner.clone().prop_map(|value| Tree::Not(value.into()));
            prop_oneof![6 => logic, 2 => not, 3 => test(inner.boxed(), dialect), 1 => leaf()]
        })
        .boxed()
}

fn properties() -> impl Strategy<Value = Properties> {
    // A stored property has a value that is not empty, and quotes are doubled in expressions only.
    let values: Vec<&str> =
        TEXTS.iter().copied().filter(|text| !text.is_empty() && !text.contains('\'')).collect();
    prop::collection::btree_map(prop::sample::select(NAMES), prop::sample::select(values), 0..=NAMES.len())
}

impl Fields for Properties {
    fn field(&self, name: &str) -> Value<'_> {
        self.get(name).map_or(Value::Null, |value| Value::Text(value))
    }
}

/// Whether the compiled form agrees with the tree about being valid, and for some messages about matching; and whether
/// it prints as it was.
fn agree(
    tree: &Tree,
    dialect: Dialect,
    messages: &[Properties],
    interpret: fn(&Tree, &Properties) -> bool,
) -> std::result::Result<(), TestCaseError> {
    let text = tree.print();
    // Without the outermost parentheses, so that the last token ends the text.
    let text = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(&text);
    let is_valid = tree.is_valid() && tree.is_condition();
    let compiled = match Expression::parse(text, dialect) {
        Ok(compiled) => compiled,
        Err(error) => {
            prop_assert!(!is_valid, "{text} was refused: {error}");
            return Ok(());
        }
    };
    prop_assert!(is_valid, "{text} was not refused");
    let printed = compiled.to_string();
    prop_assert!(
        Expression::parse(&printed, dialect).as_ref() == Ok(&compiled),
        "{text} was printed as {printed}"
    );
    for message in messages {
        prop_assert_eq!(compiled.is_true_of(message), interpret(tree, message), "{} of {:?}", text, message);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn sql92_is_what_the_slow_interpreter_says(
        tree in tree(Dialect::Rocketmq), messages in prop::collection::vec(properties(), 8)
    ) {
        agree(&tree, Dialect::Rocketmq, &messages, |tree, message| java(tree, message) == Some(Bool(true)))?;
    }

    #[test]
    fn selectors_are_what_the_slow_interpreter_says(
        tree in tree(Dialect::Jms), messages in prop::collection::vec(properties(), 8)
    ) {
        agree(&tree, Dialect::Jms, &messages, |tree, message| jms(tree, message) == Bool(true))?;
    }

    #[test]
    fn any_text_is_compiled_or_refused(text in ".{0,60}", words in prop::collection::vec(prop::sample::select(
        &["a", "NOT", "AND", "(", ")", "=", "'x'", "5", "BETWEEN", "IN", "IS", "NULL", "-", "LIKE", "CONTAINS", ","][..]
    ), 0..12)) {
        for dialect in [Dialect::Rocketmq, Dialect::Jms] {
            for text in [text.clone(), words.join(" ")] {
                if let Ok(compiled) = Expression::parse(&text, dialect) {
                    prop_assert_eq!(Expression::parse(&compiled.to_string(), dialect), Ok(compiled));
                }
            }
        }
    }
}
