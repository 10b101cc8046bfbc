//! Crates that read outside data deny the ways in which it makes a program panic or wrap.
use crate::{Source, Violation};

const LINTS: &[&str] = &["clippy::unwrap_used", "clippy::indexing_slicing", "clippy::as_conversions"];
const WHY: &str = "bytes from a socket or a disk must end in a typed error, never in a panic or a cut number";

/// Storage crates deny them at their root, protocols at their codec's.
pub fn check(source: &Source) -> Vec<Violation> {
    if !is_root(&source.path) {
        return Vec::new();
    }
    let denied = denied_lints(source);
    let missing = LINTS.iter().filter(|lint| !denied.contains(&lint.replace("::", " :: ")));
    missing
        .map(|lint| Violation {
            path: source.path.clone(),
            line: 1,
            what: format!("does not deny {lint}"),
            why: WHY,
        })
        .collect()
}

fn is_root(path: &str) -> bool {
    matches!(
        path.split('/').collect::<Vec<_>>()[..],
        ["storage", _, "src", "lib.rs"]
            | ["protocols", _, "src", "codec.rs"]
            | ["protocols", _, "src", "codec", "mod.rs"]
    )
}

/// The tokens of every `deny` or `forbid` of the file, `cfg_attr` unpacked.
fn denied_lints(source: &Source) -> String {
    let inner =
        source.file.attrs.iter().filter(|attribute| matches!(attribute.style, syn::AttrStyle::Inner(_)));
    let texts = inner.filter_map(|attribute| match &attribute.meta {
        syn::Meta::List(list) => Some(format!("{}({})", attribute.path().get_ident()?, list.tokens)),
        _ => None,
    });
    texts.filter(|text| ["deny", "forbid"].iter().any(|word| text.contains(word))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Source::parse(path, text).expect("the test's own text is Rust")).len()
    }

    #[test]
    fn storage_and_codecs_deny_panics_on_outside_data() {
        let all = "#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions))]";
        let two = "#![deny(clippy::unwrap_used, clippy::indexing_slicing)]";
        for path in
            ["storage/message/src/lib.rs", "protocols/amqp/src/codec/mod.rs", "protocols/x/src/codec.rs"]
        {
            assert_eq!((count(path, all), count(path, two), count(path, "")), (0, 1, 3), "{path}");
        }
        let allowed = "#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]";
        assert_eq!(count("storage/message/src/lib.rs", allowed), 3);
        assert_eq!(count("gateway/src/main.rs", ""), 0);
    }
}
