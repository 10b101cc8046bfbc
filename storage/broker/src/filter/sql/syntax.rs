//! Words and signs of the language.

use super::{Comparison, Dialect, Operator, Part};

const WORDS: &[&str] = &["NOT", "AND", "OR", "BETWEEN", "IN", "TRUE", "FALSE", "NULL", "IS"];
const ROCKETMQ_WORDS: &[&str] = &["CONTAINS", "STARTSWITH", "ENDSWITH"];
const JMS_WORDS: &[&str] = &["LIKE", "ESCAPE"];
const SIGNS: &[&str] = &["<>", "<=", ">=", "=", "<", ">", "(", ")", ",", "+", "-"];
const JMS_SIGNS: &[&str] = &["*", "/"];

impl Dialect {
    /// True for what cannot name a property.
    pub(super) fn is_reserved(self, word: &str) -> bool {
        let own = match self {
            Dialect::Rocketmq => ROCKETMQ_WORDS,
            Dialect::Jms => JMS_WORDS,
        };
        WORDS.iter().chain(own).any(|reserved| reserved.eq_ignore_ascii_case(word))
    }

    /// Signs, those first that begin with another.
    pub(super) fn signs(self) -> impl Iterator<Item = &'static str> {
        let own = match self {
            Dialect::Rocketmq => &[],
            Dialect::Jms => JMS_SIGNS,
        };
        SIGNS.iter().chain(own).copied()
    }
}

impl Comparison {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }
}

impl Operator {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
        }
    }
}

impl Part {
    pub(super) fn word(self) -> &'static str {
        match self {
            Part::Contains => "CONTAINS",
            Part::StartsWith => "STARTSWITH",
            Part::EndsWith => "ENDSWITH",
        }
    }
}
