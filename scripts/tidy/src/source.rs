//! One Rust file, parsed, with the parts that only tests compile told apart from the rest.
use proc_macro2::{LineColumn, Span, TokenStream};
use syn::spanned::Spanned;
use thiserror::Error;

/// A file that the rules cannot look into.
#[derive(Debug, Error)]
#[error("{path}:{line}: not Rust: {source}")]
pub struct SourceError {
    path: String,
    line: usize,
    source: syn::Error,
}

/// A parsed file.
pub struct Source {
    /// From the top of the repository, with `/`.
    pub path: String,
    pub text: String,
    pub file: syn::File,
}

impl Source {
    pub fn parse(path: &str, text: &str) -> Result<Self, SourceError> {
        let file = syn::parse_file(text).map_err(|source| SourceError {
            path: path.to_owned(),
            line: source.span().start().line,
            source,
        })?;
        Ok(Self { path: path.to_owned(), text: text.to_owned(), file })
    }

    /// Whether the whole file is compiled for tests, benches or examples only, by Cargo's folders or by the usual name
    /// of a test module in its own file.
    pub fn is_test(&self) -> bool {
        let mut folders = self.path.split('/');
        let name = folders.next_back();
        name == Some("tests.rs") || folders.any(|folder| matches!(folder, "tests" | "benches" | "examples"))
    }
}

/// Whether these attributes limit an item to tests.
pub fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<TokenStream>().is_ok_and(|tokens| tokens.to_string() == "test")
    })
}

/// Attributes of an item, whatever it is.
pub fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// First and last line of a syntax node, counted from 1.
pub fn lines(node: &impl Spanned) -> (usize, usize) {
    let span: Span = node.span();
    let (LineColumn { line: first, .. }, LineColumn { line: last, .. }) = (span.start(), span.end());
    (first, last)
}
