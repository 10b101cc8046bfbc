//! Names that say nothing: a file, folder, crate or module is called after what it holds, in the field's own terms.
use syn::visit::{self, Visit};

use crate::source::lines;
use crate::{Source, Violation};

const EMPTY_WORDS: &[&str] = &["util", "helper", "common", "misc", "manager", "impl"];
const WHY: &str =
    "such a name takes in anything, so nobody can tell what is inside or where new code belongs";

/// Checks every folder on the way and the file's name; `path` is from the top of the repository.
pub fn check_path(path: &str) -> Option<Violation> {
    path.split('/').find_map(empty_word).map(|word| violation(path, 1, word))
}

/// Checks the modules that a file declares.
pub fn check_modules(source: &Source) -> Vec<Violation> {
    let mut modules = Modules { path: &source.path, found: Vec::new() };
    modules.visit_file(&source.file);
    modules.found
}

struct Modules<'a> {
    path: &'a str,
    found: Vec<Violation>,
}

impl<'ast> Visit<'ast> for Modules<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if let Some(word) = empty_word(&module.ident.to_string()) {
            self.found.push(violation(self.path, lines(&module.ident).0, word));
        }
        visit::visit_item_mod(self, module);
    }
}

fn violation(path: &str, line: usize, word: &str) -> Violation {
    Violation { path: path.to_owned(), line, what: format!("a name with `{word}` in it"), why: WHY }
}

/// The empty word that `name` is made with, in one case or several, singular or plural.
fn empty_word(name: &str) -> Option<&'static str> {
    let words = split_words(name);
    EMPTY_WORDS
        .iter()
        .copied()
        .find(|empty| words.iter().any(|word| word == empty || word.strip_suffix('s') == Some(empty)))
}

/// `HttpUtil-common.rs` is `http`, `util`, `common`, `rs`.
fn split_words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        if !letter.is_ascii_alphanumeric() || (was_lower && letter.is_ascii_uppercase()) {
            words.push(String::new());
        }
        if letter.is_ascii_alphanumeric() {
            words.last_mut().expect("there is always a last word").extend(letter.to_lowercase());
        }
        was_lower = letter.is_ascii_lowercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_of_files_and_folders_fail() {
        for path in [
            "storage/util/lib.rs",
            "gateway/src/helpers.rs",
            "protocols/rest-common/Cargo.toml",
            "a/session_manager.rs",
            "a/HttpUtils.java",
            "a/misc.py",
            "a/impl.rs",
        ] {
            assert!(check_path(path).is_some(), "{path}");
        }
        for path in ["storage/commitlog/src/commit.rs", "a/utility_bill.rs", "a/implied.rs", "a/manages.rs"] {
            assert_eq!(check_path(path), None, "{path}");
        }
    }

    #[test]
    fn empty_names_of_modules_fail_where_they_are_declared() {
        let text = "//! x\nmod codec;\nmod frame_utils;\nmod a { mod common {} }\n";
        let source = Source::parse("a.rs", text).expect("the test's own text is Rust");
        let lines: Vec<_> = check_modules(&source).into_iter().map(|violation| violation.line).collect();
        assert_eq!(lines, [3, 4]);
    }
}
