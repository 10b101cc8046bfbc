//! Every Rust file begins with a `//!` head. What the head says cannot be checked here, only that it says something.
use crate::{Source, Violation};

const HEAD_CHARACTERS_MIN: usize = 20;

pub fn check(source: &Source) -> Vec<Violation> {
    let first = source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    let says_something =
        first.strip_prefix("//!").is_some_and(|text| text.trim().chars().count() >= HEAD_CHARACTERS_MIN);
    if says_something {
        return Vec::new();
    }
    vec![Violation {
        path: source.path.clone(),
        line: 1,
        what: "no `//!` head".to_owned(),
        why: "a reader must learn from the first line what a file is and what it deliberately does not do",
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        check(&Source::parse("a.rs", text).expect("the test's own text is Rust")).len()
    }

    #[test]
    fn a_file_must_begin_by_saying_what_it_is() {
        assert_eq!(count("//! What this is, and what it is not.\nfn f() {}"), 0);
        assert_eq!(count("fn f() {}"), 1);
        assert_eq!(count("//!\nfn f() {}"), 1);
        assert_eq!(count("//! Todo.\nfn f() {}"), 1);
        assert_eq!(count("// A plain comment is no documentation.\nfn f() {}"), 1);
        assert_eq!(count("#![allow(dead_code)]\n//! The head comes too late to be first.\nfn f() {}"), 1);
        assert_eq!(count(""), 1);
    }
}
