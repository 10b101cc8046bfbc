//! LIKE patterns of JMS: `_` is any one character, `%` any number of them.

/// A compiled pattern.
#[derive(Debug, PartialEq)]
pub(super) struct Pattern {
    pieces: Vec<Piece>,
    /// As it was written, for printing.
    text: Box<str>,
    escape: Option<char>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    One,
    Many,
    Literal(char),
}

impl Pattern {
    /// `None` when an escape is the last character.
    pub fn parse(text: &str, escape: Option<char>) -> Option<Pattern> {
        let mut pieces = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            pieces.push(match character {
                character if Some(character) == escape => Piece::Literal(characters.next()?),
                '_' => Piece::One,
                '%' => Piece::Many,
                character => Piece::Literal(character),
            });
        }
        // What follows one another means the same as one, and would cost as much again each.
        pieces.dedup_by(|next, before| *next == Piece::Many && *before == Piece::Many);
        Some(Pattern { pieces, text: text.into(), escape })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn escape(&self) -> Option<char> {
        self.escape
    }

    /// Goes back to the last `%` where a character does not fit, so the cost is at most the text's length times the
    /// pattern's.
    pub fn fits(&self, text: &str) -> bool {
        let (mut at, mut rest) = (0, text.chars());
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            match (self.pieces.get(at), rest.clone().next()) {
                (None, None) => return true,
                (Some(Piece::Many), _) => {
                    retry = Some((at + 1, rest.clone()));
                    at += 1;
                    continue;
                }
                (Some(Piece::One), Some(_)) => {
                    rest.next();
                    at += 1;
                    continue;
                }
                (Some(Piece::Literal(wanted)), Some(found)) if *wanted == found => {
                    rest.next();
                    at += 1;
                    continue;
                }
                _ => {}
            }
            // The `%` takes one character more.
            let Some((behind, from)) = &mut retry else { return false };
            if from.next().is_none() {
                return false;
            }
            (at, rest) = (*behind, from.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_texts() {
        for (pattern, escape, fitting, other) in [
            ("12%3", None, &["123", "12993", "1233"][..], &["1234", "12", "0123"][..]),
            ("l_se", None, &["lose", "lüse"], &["loose", "lse"]),
            ("\\_%", Some('\\'), &["_", "_foo"], &["bar", ""]),
            ("100x%", Some('x'), &["100%"], &["100", "100x", "1000"]),
            ("%a%b", None, &["ab", "xaxbxb"], &["ba", "abx"]),
            ("%%%", None, &["", "x"], &[]),
            ("", None, &[""], &["x"]),
            ("%_", None, &["x", "xy"], &[""]),
        ] {
            let pattern = Pattern::parse(pattern, escape).unwrap();
            for text in fitting {
                assert!(pattern.fits(text), "{pattern:?} {text:?}");
            }
            for text in other {
                assert!(!pattern.fits(text), "{pattern:?} {text:?}");
            }
        }
    }

    #[test]
    fn an_escape_escapes_something() {
        assert_eq!(Pattern::parse("a!", Some('!')), None);
        assert!(Pattern::parse("a!!", Some('!')).unwrap().fits("a!"));
    }

    #[test]
    fn a_costly_pattern_ends_soon() {
        let pattern = Pattern::parse(&"%a".repeat(500), None).unwrap();
        assert!(!pattern.fits(&"a".repeat(499)));
        assert!(pattern.fits(&"ba".repeat(5_000)));
    }
}
