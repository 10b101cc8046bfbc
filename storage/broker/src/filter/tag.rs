//! Tags: by hash from the index entry, by name from the message.

use std::fmt;

use mailrail_message::{StoredMessage, property, tag_hash};

use super::FilterError;
use crate::limits::*;

/// The tags that pass.
#[derive(Debug, PartialEq)]
pub(super) struct Tags {
    names: Vec<String>,
    /// Sorted.
    hashes: Vec<i32>,
}

impl Tags {
    /// `None` when every message passes.
    pub fn parse(text: &str) -> Result<Option<Tags>, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLong { bytes: text.len() });
        }
        if text.trim().is_empty() {
            return Ok(None);
        }
        let tags = text.split("||").map(str::trim).filter(|tag| !tag.is_empty());
        let names: Vec<String> = tags.map(str::to_owned).collect();
        if names.iter().any(|name| name == "*") {
            return Ok(None);
        }
        if names.is_empty() {
            return Err(FilterError::NoTag(text.to_owned()));
        }
        if names.len() > FILTER_TERMS_MAX {
            return Err(FilterError::TooManyTerms { at: 0 });
        }
        let mut hashes: Vec<i32> = names.iter().map(|name| tag_hash(name)).collect();
        hashes.sort_unstable();
        Ok(Some(Tags { names, hashes }))
    }

    pub fn has_hash(&self, hash: i32) -> bool {
        self.hashes.binary_search(&hash).is_ok()
    }

    /// Hashes collide, so what they let through is looked at once more.
    pub fn has(&self, message: &StoredMessage<'_>) -> bool {
        let tag = message.properties().get(property::TAGS);
        tag.is_some_and(|tag| self.names.iter().any(|name| name == tag))
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join(" || "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_trimmed_and_a_star_among_them_means_all() {
        let parsed = |text: &str| Tags::parse(text).map(|tags| tags.map(|tags| tags.names.join(",")));
        for text in ["", " ", "*", " * ", "a || *"] {
            assert_eq!(parsed(text), Ok(None), "{text:?}");
        }
        for (text, names) in [("a", "a"), ("a || b||c ", "a,b,c"), ("a||", "a"), ("||é", "é")] {
            assert_eq!(parsed(text), Ok(Some(names.to_owned())), "{text:?}");
        }
        assert_eq!(parsed(" ||"), Err(FilterError::NoTag(" ||".into())));
    }

    #[test]
    fn every_tag_is_found_by_its_hash() {
        let tags = Tags::parse("red || green || blue || Aa").unwrap().unwrap();
        for name in ["red", "green", "blue", "Aa", "BB"] {
            assert!(tags.has_hash(tag_hash(name)), "{name}");
        }
        assert!(!tags.has_hash(0) && !tags.has_hash(tag_hash("yellow")));
    }

    #[test]
    fn tags_have_limits() {
        let tags = |count: usize| vec!["t"; count].join("||");
        assert!(Tags::parse(&tags(FILTER_TERMS_MAX)).is_ok());
        let error = Tags::parse(&tags(FILTER_TERMS_MAX + 1)).unwrap_err();
        assert_eq!(error, FilterError::TooManyTerms { at: 0 });
        assert!(Tags::parse(&"t".repeat(FILTER_BYTES_MAX)).is_ok());
        let bytes = FILTER_BYTES_MAX + 1;
        assert_eq!(Tags::parse(&"t".repeat(bytes)), Err(FilterError::TooLong { bytes }));
    }
}
