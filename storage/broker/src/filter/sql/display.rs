//! An expression as text that compiles to the same, with every pair of parentheses.

use std::fmt::{self, Display, Formatter};

use super::*;

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.nodes.len().checked_sub(1) {
            Some(root) => self.print(root, f),
            None => Ok(()),
        }
    }
}

impl Expression {
    fn print(&self, id: NodeId, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(node) = self.node(id) else { return Ok(()) };
        let not = |is_negated: &bool| if *is_negated { " NOT" } else { "" };
        match node {
            Node::Constant(constant) => constant.fmt(f),
            Node::Property(name) => f.write_str(name),
            Node::Truth(value) => self.print(*value, f),
            Node::Negate(value) => self.print_around("(- ", *value, "", f)?.write_str(")"),
            Node::Not(value) => self.print_around("(NOT ", *value, "", f)?.write_str(")"),
            Node::Arithmetic { operator, left, right } => {
                self.print_list(&[*left, *right], operator.sign(), f)
            }
            Node::All(parts) => self.print_list(parts, "AND", f),
            Node::Any(parts) => self.print_list(parts, "OR", f),
            Node::Compare { comparison, left, right } => {
                self.print_list(&[*left, *right], comparison.sign(), f)
            }
            Node::Between { value, low, high, is_negated } => {
                self.print_around("(", *value, not(is_negated), f)?;
                self.print_around(" BETWEEN ", *low, "", f)?;
                self.print_around(" AND ", *high, ")", f).map(|_| ())
            }
            Node::IsNull { value, is_negated } => {
                self.print_around("(", *value, " IS", f)?;
                write!(f, "{} NULL)", not(is_negated))
            }
            Node::In { value, list, is_negated } => {
                self.print_around("(", *value, not(is_negated), f)?;
                for (at, one) in list.iter().enumerate() {
                    write!(f, "{}{}", if at == 0 { " IN (" } else { ", " }, Quoted(one))?;
                }
                f.write_str("))")
            }
            Node::Part { part, value, search, is_negated } => {
                self.print_around("(", *value, not(is_negated), f)?;
                write!(f, " {} {})", part.word(), Quoted(search))
            }
            Node::Like { value, pattern, is_negated } => {
                self.print_around("(", *value, not(is_negated), f)?;
                write!(f, " LIKE {}", Quoted(pattern.text()))?;
                if let Some(escape) = pattern.escape() {
                    write!(f, " ESCAPE {}", Quoted(escape.encode_utf8(&mut [0; 4])))?;
                }
                f.write_str(")")
            }
        }
    }

    fn print_around<'f, 'g>(
        &self,
        before: &str,
        id: NodeId,
        behind: &str,
        f: &'f mut Formatter<'g>,
    ) -> Result<&'f mut Formatter<'g>, fmt::Error> {
        f.write_str(before)?;
        self.print(id, f)?;
        f.write_str(behind)?;
        Ok(f)
    }

    fn print_list(&self, parts: &[NodeId], between: &str, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, part) in parts.iter().enumerate() {
            if at == 0 {
                f.write_str("(")?;
            } else {
                write!(f, " {between} ")?;
            }
            self.print(*part, f)?;
        }
        f.write_str(")")
    }
}

impl Display for Constant {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Constant::Null => f.write_str("NULL"),
            Constant::Bool(is_true) => f.write_str(if *is_true { "TRUE" } else { "FALSE" }),
            Constant::Int(number) => number.fmt(f),
            Constant::Long(number) => number.fmt(f),
            // With a point or an exponent, always.
            Constant::Double(number) => write!(f, "{number:?}"),
            Constant::Text(text) => Quoted(text).fmt(f),
        }
    }
}

struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\'', "''"))
    }
}
