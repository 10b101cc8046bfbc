//! Expressions over properties: RocketMQ's SQL92, and JMS selectors with the same evaluator.
//!
//! An expression is a list of nodes, each behind those it is made of. It is built by `parse` and never changes; being
//! asked allocates nothing. The rules are RocketMQ's (filter module of 5.5) to the letter, odd ones included, but for
//! three: text behind the end of an expression is an error and not ignored, digits are ASCII, and properties are not
//! read as hexadecimal doubles.

mod compare;
mod display;
mod evaluate;
mod like;
mod parse;
mod syntax;
mod token;
mod value;

use self::like::Pattern;
pub use self::value::Value;
use self::value::{Constant, Unfit};
use super::{FilterError, Misuse};

/// Whose rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// CONTAINS, STARTSWITH and ENDSWITH; text becomes a number where it meets one; NOT binds tightest.
    Rocketmq,
    /// LIKE, arithmetic, hexadecimal and octal numbers; values of different types are never equal; NOT binds less
    /// tightly than a comparison.
    Jms,
}

/// A compiled expression.
#[derive(Debug, PartialEq)]
pub struct Expression {
    dialect: Dialect,
    nodes: Vec<Node>,
}

/// Place of a node in the list.
type NodeId = usize;

#[derive(Debug, PartialEq)]
enum Node {
    Constant(Constant),
    Property(Box<str>),
    Negate(NodeId),
    Arithmetic {
        operator: Operator,
        left: NodeId,
        right: NodeId,
    },
    /// A property where true or false is asked for.
    Truth(NodeId),
    Not(NodeId),
    /// AND over two or more.
    All(Vec<NodeId>),
    /// OR over two or more.
    Any(Vec<NodeId>),
    Compare {
        comparison: Comparison,
        left: NodeId,
        right: NodeId,
    },
    Between {
        value: NodeId,
        low: NodeId,
        high: NodeId,
        is_negated: bool,
    },
    IsNull {
        value: NodeId,
        is_negated: bool,
    },
    In {
        value: NodeId,
        list: Vec<Box<str>>,
        is_negated: bool,
    },
    Part {
        part: Part,
        value: NodeId,
        search: Box<str>,
        is_negated: bool,
    },
    Like {
        value: NodeId,
        pattern: Pattern,
        is_negated: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Where in a text another one must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Contains,
    StartsWith,
    EndsWith,
}

impl Expression {
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }
}

impl Node {
    /// True when only true, false or unknown can come of it.
    fn is_boolean(&self) -> bool {
        match self {
            Node::Constant(constant) => matches!(constant, Constant::Null | Constant::Bool(_)),
            Node::Property(_) | Node::Negate(_) | Node::Arithmetic { .. } => false,
            _ => true,
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
