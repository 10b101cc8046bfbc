//! What a consumer wants of a topic: everything, or some tags.
//!
//! SQL92 is recognised and not evaluated: filters beyond tags are not there yet.

use std::sync::Arc;

use mailrail_message::tag_hash;

/// A compiled subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    All,
    /// Hashes of the tags; the client compares the tags themselves.
    Tags(Arc<[i32]>),
    /// Cannot be consumed yet.
    Sql,
}

impl Filter {
    /// `kind` is the wire's `expressionType`; empty means tags, as old clients leave it out.
    pub(crate) fn parse(expression: &str, kind: &str) -> Filter {
        if !kind.is_empty() && !kind.eq_ignore_ascii_case("TAG") {
            return Filter::Sql;
        }
        let expression = expression.trim();
        if expression.is_empty() || expression == "*" {
            return Filter::All;
        }
        let tags = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty());
        Filter::Tags(tags.map(tag_hash).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_trimmed_and_hashed() {
        let tags = |list: &[&str]| Filter::Tags(list.iter().map(|tag| tag_hash(tag)).collect());
        for (expression, kind, expected) in [
            ("*", "TAG", Filter::All),
            ("", "", Filter::All),
            (" * ", "tag", Filter::All),
            ("a", "", tags(&["a"])),
            ("a || b||c ", "TAG", tags(&["a", "b", "c"])),
            ("a||", "TAG", tags(&["a"])),
            ("||", "TAG", tags(&[])),
            ("a > 1", "SQL92", Filter::Sql),
            ("*", "CLASS", Filter::Sql),
        ] {
            assert_eq!(Filter::parse(expression, kind), expected, "{expression} as {kind}");
        }
    }
}
