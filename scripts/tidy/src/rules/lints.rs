//! Crates that read outside data deny the ways in which it makes a program panic or wrap.
use crate::{Source, Violation};

const LINTS: &[&str] = &["clippy::unwrap_used", "clippy::indexing_slicing", "clippy::as_conversions"];
const WHY: &str = "bytes from a socket or a disk must end in a typed error, never in a panic or a cut number";

/// Storage crates deny them at their root, protocols at their codec's root or their own.
pub fn check_lints(sources: &[Source]) -> Vec<Violation> {
    let storage = sources.iter().filter(|source| is_storage_root(&source.path)).map(|root| (root, root));
    let codecs = sources.iter().filter(|source| is_codec_root(&source.path)).map(|codec| {
        let crate_folder = codec.path.split_inclusive('/').take(3).collect::<String>();
        let root = sources.iter().find(|source| source.path == format!("{crate_folder}lib.rs"));
        (codec, root.unwrap_or(codec))
    });
    storage.chain(codecs).flat_map(|(judged, root)| missing_lints(judged, root)).collect()
}

fn missing_lints(judged: &Source, root: &Source) -> Vec<Violation> {
    let denied = denied_lints(judged) + &denied_lints(root);
    let missing = LINTS.iter().filter(|lint| !denied.contains(&lint.replace("::", " :: ")));
    missing
        .map(|lint| Violation {
            path: judged.path.clone(),
            line: 1,
            what: format!("does not deny {lint}"),
            why: WHY,
        })
        .collect()
}

fn is_storage_root(path: &str) -> bool {
    matches!(path.split('/').collect::<Vec<_>>()[..], ["storage", _, "src", "lib.rs"])
}

fn is_codec_root(path: &str) -> bool {
    matches!(
        path.split('/').collect::<Vec<_>>()[..],
        ["protocols", _, "src", "codec.rs"] | ["protocols", _, "src", "codec", "mod.rs"]
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

    const ALL: &str = "#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions))]";

    fn count(files: &[(&str, &str)]) -> usize {
        let parse =
            |(path, text): &(&str, &str)| Source::parse(path, text).expect("the test's own text is Rust");
        check_lints(&files.iter().map(parse).collect::<Vec<_>>()).len()
    }

    #[test]
    fn storage_and_codecs_deny_panics_on_outside_data() {
        let two = "#![deny(clippy::unwrap_used, clippy::indexing_slicing)]";
        let allowed = "#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]";
        for path in
            ["storage/message/src/lib.rs", "protocols/amqp/src/codec/mod.rs", "protocols/x/src/codec.rs"]
        {
            assert_eq!(count(&[(path, ALL)]), 0, "{path}");
            assert_eq!(count(&[(path, two)]), 1, "{path}");
            assert_eq!((count(&[(path, "")]), count(&[(path, allowed)])), (3, 3), "{path}");
        }
        assert_eq!(count(&[("gateway/src/main.rs", "")]), 0);
    }

    #[test]
    fn a_protocol_may_deny_them_for_its_whole_crate() {
        let codec = ("protocols/amqp/src/codec/mod.rs", "");
        assert_eq!(count(&[codec, ("protocols/amqp/src/lib.rs", ALL)]), 0);
        assert_eq!(count(&[codec, ("protocols/remoting/src/lib.rs", ALL)]), 3, "that is another crate");
    }
}
