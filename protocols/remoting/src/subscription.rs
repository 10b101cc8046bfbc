//! What a consumer wants of a topic, from how the wire says it.

use mailrail_broker::{Dialect, Filter, FilterError};

/// Why a subscription cannot be served. Scope: the subscription; the group's others are not touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscriptionError {
    #[error("the subscription is not valid: {0}")]
    Filter(#[from] FilterError),
    #[error("no filter has the type {0:?}; TAG and SQL92 are known")]
    Kind(String),
}

/// `kind` is the wire's `expressionType`; empty means tags, as old clients leave it out.
pub(crate) fn parse(expression: &str, kind: &str) -> Result<Filter, SubscriptionError> {
    if kind.is_empty() || kind.eq_ignore_ascii_case("TAG") {
        Ok(Filter::tags(expression)?)
    } else if kind.eq_ignore_ascii_case("SQL92") {
        Ok(Filter::all().and_sql(expression, Dialect::Rocketmq)?)
    } else {
        Err(SubscriptionError::Kind(kind.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_says_what_an_expression_is() {
        for (expression, kind, expected) in [
            ("*", "TAG", Ok("*")),
            ("", "", Ok("*")),
            (" a||b", "tag", Ok("a || b")),
            ("a > 1", "", Ok("a > 1")),
            ("a > 1", "SQL92", Ok("(a > 1)")),
            ("||", "TAG", Err("the subscription is not valid: \"||\" names no tag")),
            (
                "",
                "SQL92",
                Err(
                    "the subscription is not valid: at byte 0: the end where a property, a literal or ( is expected",
                ),
            ),
            ("*", "CLASS", Err("no filter has the type \"CLASS\"; TAG and SQL92 are known")),
        ] {
            let parsed =
                parse(expression, kind).map(|filter| filter.to_string()).map_err(|error| error.to_string());
            let parsed = parsed.as_ref().map(String::as_str).map_err(String::as_str);
            assert_eq!(parsed, expected, "{expression} as {kind}");
        }
    }
}
