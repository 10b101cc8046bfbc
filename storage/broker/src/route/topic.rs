//! Topic: binding keys are patterns over dot-separated words; `*` is one word, `#` any number of them.

use crate::record::{Binding, RouteEnd};

pub(super) fn targets(bindings: &[Binding], key: &str, found: &mut Vec<RouteEnd>) {
    found.extend(bindings.iter().filter(|binding| matches(&binding.key, key)).map(|binding| binding.target));
}

/// Whether a pattern covers a key. Takes time in proportion to the product of their lengths, whatever the pattern.
fn matches(pattern: &str, key: &str) -> bool {
    let words: Vec<&str> = words(key);
    // reached[i]: the pattern so far covers the first i words.
    let mut reached = vec![false; words.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for part in self::words(pattern) {
        let mut next = vec![false; reached.len()];
        let mut any_before = false;
        for (i, covered) in next.iter_mut().enumerate() {
            let here = reached.get(i).copied().unwrap_or(false);
            any_before |= here;
            let one_less = i.checked_sub(1).and_then(|before| reached.get(before)).copied().unwrap_or(false);
            let word = i.checked_sub(1).and_then(|before| words.get(before));
            *covered = match part {
                "#" => any_before,
                "*" => one_less,
                literal => one_less && word.is_some_and(|word| *word == literal),
            };
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

/// An empty text has no words.
fn words(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('.').collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(matches(pattern, key), expected, "{pattern} {key}");
        }
    }
}
