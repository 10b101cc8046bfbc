//! Crates that read outside data deny the ways in which it makes a program panic or wrap, and whoever lifts that says why.
use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::{Attribute, Meta, Token};

use crate::source::lines;
use crate::{Source, Violation};

const LINTS: &[&str] = &["clippy::unwrap_used", "clippy::indexing_slicing", "clippy::as_conversions"];
/// Lifting this group lifts all of them.
const GROUP: &str = "clippy::restriction";
const WHY: &str = "bytes from a socket or a disk must end in a typed error, never in a panic or a cut number";
const WHY_REASON: &str = "a reader must be able to check why this place cannot panic or cut a number";

/// Every crate of storage and of the protocols denies them at its root, all of it.
pub fn check_lints(sources: &[Source]) -> Vec<Violation> {
    sources.iter().flat_map(check_root).collect()
}

fn check_root(source: &Source) -> Vec<Violation> {
    let words: Vec<_> = source.path.split('/').collect();
    match words[..] {
        ["storage" | "protocols", _, "src", "lib.rs"] => missing_lints(source),
        _ => Vec::new(),
    }
}

fn missing_lints(source: &Source) -> Vec<Violation> {
    let inner = source.file.attrs.iter().filter(|one| matches!(one.style, syn::AttrStyle::Inner(_)));
    let levels: Vec<Level> = inner.flat_map(levels).filter(|level| !level.in_tests_only).collect();
    let is_denied = |lint: &str| {
        levels.iter().any(|level| matches!(&*level.word, "deny" | "forbid") && level.names(lint))
    };
    let missing = LINTS.iter().filter(|lint| !is_denied(lint));
    missing.map(|lint| violation(source, 1, format!("does not deny {lint}"), WHY)).collect()
}

/// Wherever one of the lints is allowed or expected, a reason stands beside it.
pub fn check_reasons(source: &Source) -> Vec<Violation> {
    let mut lifted = Lifted { source, found: Vec::new() };
    lifted.visit_file(&source.file);
    lifted.found
}

struct Lifted<'a> {
    source: &'a Source,
    found: Vec<Violation>,
}

impl<'ast> Visit<'ast> for Lifted<'_> {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let lifting = levels(attribute).into_iter().filter(|one| matches!(&*one.word, "allow" | "expect"));
        for level in lifting.filter(|level| !level.has_reason) {
            for lint in LINTS.iter().chain([&GROUP]).filter(|lint| level.names(lint)) {
                let what = format!("{} of {lint} without a reason", level.word);
                self.found.push(violation(self.source, lines(attribute).0, what, WHY_REASON));
            }
        }
    }
}

/// One `allow(..)`, `deny(..)` and so on.
struct Level {
    word: String,
    lints: Vec<String>,
    has_reason: bool,
    in_tests_only: bool,
}

impl Level {
    fn names(&self, lint: &str) -> bool {
        self.lints.iter().any(|named| named == lint)
    }
}

/// What an attribute sets, `cfg_attr` unpacked.
fn levels(attribute: &Attribute) -> Vec<Level> {
    levels_of(&attribute.meta, false)
}

fn levels_of(meta: &Meta, in_tests_only: bool) -> Vec<Level> {
    let Meta::List(list) = meta else { return Vec::new() };
    let Ok(inside) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return Vec::new();
    };
    if list.path.is_ident("cfg_attr") {
        let in_tests_only = in_tests_only || inside.first().is_some_and(|when| when.path().is_ident("test"));
        return inside.iter().skip(1).flat_map(|meta| levels_of(meta, in_tests_only)).collect();
    }
    let word = list.path.get_ident().map(ToString::to_string).unwrap_or_default();
    let has_reason = inside.iter().any(|meta| match meta {
        Meta::NameValue(pair) if pair.path.is_ident("reason") => !is_empty_text(&pair.value),
        _ => false,
    });
    let lints = inside.iter().map(|meta| path_text(meta.path())).collect();
    vec![Level { word, lints, has_reason, in_tests_only }]
}

fn is_empty_text(value: &syn::Expr) -> bool {
    matches!(value, syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) if text.value().trim().is_empty())
}

fn path_text(path: &syn::Path) -> String {
    path.segments.iter().map(|word| word.ident.to_string()).collect::<Vec<_>>().join("::")
}

fn violation(source: &Source, line: usize, what: String, why: &'static str) -> Violation {
    Violation { path: source.path.clone(), line, what, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions))]";

    fn source(path: &str, text: &str) -> Source {
        Source::parse(path, text).expect("the test's own text is Rust")
    }

    fn count(path: &str, text: &str) -> usize {
        check_lints(&[source(path, text)]).len()
    }

    #[test]
    fn storage_and_protocols_deny_panics_on_outside_data() {
        let two = "#![deny(clippy::unwrap_used, clippy::indexing_slicing)]";
        let allowed = "#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]";
        let in_tests = ALL.replace("not(test)", "test");
        for path in ["storage/message/src/lib.rs", "protocols/amqp/src/lib.rs", "protocols/rest/src/lib.rs"] {
            assert_eq!(count(path, ALL), 0, "{path}");
            assert_eq!(count(path, two), 1, "{path}");
            for text in ["", allowed, &in_tests] {
                assert_eq!(count(path, text), 3, "{path}: {text}");
            }
        }
        assert_eq!(count("gateway/src/main.rs", ""), 0);
        assert_eq!(count("protocols/amqp/src/codec/mod.rs", ""), 0, "its root denies them for it");
    }

    #[test]
    fn they_are_lifted_only_with_a_reason() {
        for text in [
            "#[allow(clippy::unwrap_used)] fn f() {}",
            "#[expect(clippy::as_conversions)] const A: u8 = 1;",
            "#[expect(dead_code, clippy::as_conversions)] const A: u8 = 1;",
            "#[expect(clippy::as_conversions, reason = \" \")] const A: u8 = 1;",
            "#![allow(clippy::indexing_slicing)]",
            "#[cfg_attr(feature = \"x\", allow(clippy::indexing_slicing))] fn f() {}",
            "fn f() { #[allow(clippy::indexing_slicing)] let x = y[0]; }",
            "impl T { #[allow(clippy::restriction)] fn f() {} }",
        ] {
            assert_eq!(check_reasons(&source("a.rs", text)).len(), 1, "{text}");
        }
        for text in [
            "#[expect(clippy::as_conversions, reason = \"usize has 64 bits\")] const A: u8 = 1;",
            "#[allow(dead_code)] fn f() {}",
            ALL,
        ] {
            assert_eq!(check_reasons(&source("a.rs", text)), [], "{text}");
        }
    }
}
