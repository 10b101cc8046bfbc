//! Topic: binding keys are patterns over dot-separated words; `*` is one word, `#` any number of them.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::record::{Binding, RouteEnd};

const ANY_WORD: &str = "*";
const ANY_WORDS: &str = "#";

/// Patterns as a tree of their words: a key walks down all that fit it at once, so what it costs follows from what it
/// fits, not from how many patterns there are.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    by_word: FxHashMap<Box<str>, Box<Patterns>>,
    any_word: Option<Box<Patterns>>,
    any_words: Option<Box<Patterns>>,
    /// Of the patterns that end here.
    targets: Vec<RouteEnd>,
}

impl Patterns {
    pub fn add(&mut self, binding: &Binding) {
        let mut at = self;
        for word in words(&binding.key) {
            at = match word {
                ANY_WORD => at.any_word.get_or_insert_default(),
                ANY_WORDS => at.any_words.get_or_insert_default(),
                word => at.by_word.entry(word.into()).or_default(),
            };
        }
        at.targets.push(binding.target);
    }

    pub fn remove(&mut self, binding: &Binding) {
        self.remove_below(words(&binding.key), binding.target);
    }

    /// Removes what lies along the rest of a pattern, and branches that end in nothing. As deep as a key has words.
    fn remove_below<'a>(&mut self, mut rest: impl Iterator<Item = &'a str>, target: RouteEnd) {
        let Some(word) = rest.next() else { return super::take(&mut self.targets, target) };
        let below = match word {
            ANY_WORD => self.any_word.as_mut(),
            ANY_WORDS => self.any_words.as_mut(),
            word => self.by_word.get_mut(word),
        };
        let Some(below) = below else { return };
        below.remove_below(rest, target);
        if !below.is_empty() {
            return;
        }
        match word {
            ANY_WORD => self.any_word = None,
            ANY_WORDS => self.any_words = None,
            word => drop(self.by_word.remove(word)),
        }
    }

    fn is_empty(&self) -> bool {
        self.targets.is_empty()
            && self.by_word.is_empty()
            && self.any_word.is_none()
            && self.any_words.is_none()
    }

    pub fn targets(&self, key: &str, found: &mut Vec<RouteEnd>) {
        let mut walk = Walk::default();
        walk.enter(self);
        for word in words(key) {
            walk.step(word);
        }
        found.extend(walk.reached().flat_map(|patterns| &patterns.targets));
    }
}

/// The places in the tree that the words of a key so far lead to, each once.
#[derive(Default)]
struct Walk<'a> {
    /// Reached by exactly these words: by one way, since in a tree there is only one.
    here: Vec<&'a Patterns>,
    /// Behind a `#`: also reached by any words more.
    stays: Vec<&'a Patterns>,
    known: FxHashSet<*const Patterns>,
}

impl<'a> Walk<'a> {
    fn reached(&self) -> impl Iterator<Item = &'a Patterns> + use<'a, '_> {
        self.here.iter().chain(&self.stays).copied()
    }

    /// Comes to a place, and to those behind a `#` there, which may stand for no words.
    fn enter(&mut self, patterns: &'a Patterns) {
        self.here.push(patterns);
        let mut at = patterns;
        while let Some(below) = at.any_words.as_deref()
            && self.known.insert(below)
        {
            self.stays.push(below);
            at = below;
        }
    }

    fn step(&mut self, word: &str) {
        let next: Vec<&Patterns> = self.reached().flat_map(|at| at.after(word)).collect();
        self.here.clear();
        next.into_iter().for_each(|patterns| self.enter(patterns));
    }
}

impl Patterns {
    fn after(&self, word: &str) -> impl Iterator<Item = &Patterns> + use<'_> {
        self.by_word.get(word).into_iter().chain(&self.any_word).map(|below| &**below)
    }
}

/// An empty text has no words.
fn words(text: &str) -> impl Iterator<Item = &str> {
    (!text.is_empty()).then(|| text.split('.')).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::TopicId;

    /// Whether a pattern covers a key, as plainly as it can be said.
    fn matches(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((&ANY_WORDS, others)), rest) => {
                matches(others, key) || rest.is_some_and(|(_, rest)| matches(pattern, rest))
            }
            (Some((word, others)), Some((first, rest))) => {
                (*word == ANY_WORD || word == first) && matches(others, rest)
            }
            (Some(_), None) => false,
        }
    }

    fn split(text: &str) -> Vec<&str> {
        words(text).collect()
    }

    fn binding(key: &str, number: u64) -> Binding {
        Binding { key: key.into(), target: RouteEnd::Topic(TopicId(number)), attributes: Vec::new() }
    }

    fn found(patterns: &Patterns, key: &str) -> Vec<RouteEnd> {
        let mut found = Vec::new();
        patterns.targets(key, &mut found);
        found.sort_unstable();
        found
    }

    #[test]
    fn patterns_cover_keys_as_in_rabbitmq() {
        let cases = [
            ("a.b.c", "a.b.c", true),
            ("a.b.c", "a.b", false),
            ("*", "a", true),
            ("*", "", false),
            ("*", "a.b", false),
            ("#", "", true),
            ("#", "a.b.c", true),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("a.#", "b", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.c", false),
            ("#.c", "c", true),
            ("#.c", "a.b.c", true),
            ("#.b.#", "a.b.c.d", true),
            ("#.b.#", "a.c", false),
            ("", "", true),
            ("", "a", false),
            ("*.#.*", "a", false),
            ("*.#.*", "a.b", true),
            ("a..b", "a..b", true),
            ("a.*.b", "a..b", true),
            ("#.#.#.#.#.#.x", "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a", false),
        ];
        for (pattern, key, expected) in cases {
            let mut patterns = Patterns::default();
            patterns.add(&binding(pattern, 1));
            assert_eq!(!found(&patterns, key).is_empty(), expected, "{pattern} {key}");
            patterns.remove(&binding(pattern, 1));
            assert!(patterns.is_empty(), "{pattern} left something");
        }
    }

    fn text(words: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(words), 0..7).prop_map(|words| words.join("."))
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_the_plain_matcher_finds(
            keys in prop::collection::vec(text(&["a", "b", "", "*", "#"]), 1..40),
            gone in prop::collection::vec(any::<bool>(), 40),
            sent in prop::collection::vec(text(&["a", "b", "c", ""]), 1..20),
        ) {
            let mut patterns = Patterns::default();
            let bound: Vec<Binding> = (0u64..).zip(&keys).map(|(number, key)| binding(key, number)).collect();
            bound.iter().for_each(|binding| patterns.add(binding));
            let mut left = Vec::new();
            for (binding, gone) in bound.iter().zip(gone) {
                if gone { patterns.remove(binding) } else { left.push(binding) }
            }
            for key in &sent {
                let fits = |binding: &&&Binding| matches(&split(&binding.key), &split(key));
                let expected: Vec<RouteEnd> = left.iter().filter(fits).map(|binding| binding.target).collect();
                prop_assert_eq!(found(&patterns, key), expected, "{}", key);
            }
            left.iter().for_each(|binding| patterns.remove(binding));
            prop_assert!(patterns.is_empty());
        }
    }
}
