//! Limits without a test: every constant that says how much there may be, at most or at least, is named by a test of its
//! crate. Whether that test looks at both sides of the limit is for people to see.
use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use crate::source::{attributes, is_test_only, lines};
use crate::{Source, Violation};

const FOLDERS: [&str; 3] = ["storage/", "protocols/", "gateway/"];
/// By crate, limits that no test names. Nothing may be added, and what gets a test must go.
const UNTESTED: &[(&str, &[&str])] = &[];
const WHY: &str = "a limit that no test meets may be off by one, or not be enforced at all";
const WHY_LISTED: &str = "the list only gets shorter, so that a new limit comes with a test";

/// Every limit that no test of its crate names, and every needless entry of the list.
pub fn check_limits(sources: &[Source]) -> Vec<Violation> {
    check(sources, UNTESTED)
}

fn check(sources: &[Source], untested: &[(&str, &[&str])]) -> Vec<Violation> {
    let mut limits: BTreeMap<(&str, String), Violation> = BTreeMap::new();
    let mut tested: BTreeSet<(&str, &str)> = BTreeSet::new();
    for source in sources {
        let Some(folder) = crate_of(&source.path) else { continue };
        let test_lines = if is_test(source) {
            vec![(1, source.text.lines().count())]
        } else {
            let mut found = Constants::default();
            found.visit_file(&source.file);
            for (name, line) in found.limits {
                let what = format!("no test names {name}");
                limits.insert((folder, name), Violation { path: source.path.clone(), line, what, why: WHY });
            }
            found.test_lines
        };
        for (first, last) in test_lines {
            let text = source.text.lines().skip(first - 1).take(last + 1 - first);
            tested.extend(text.flat_map(words).map(|word| (folder, word)));
        }
    }
    let listed: BTreeSet<(&str, &str)> =
        untested.iter().flat_map(|(folder, names)| names.iter().map(|name| (*folder, *name))).collect();
    let needless = listed.iter().filter(|(folder, name)| {
        tested.contains(&(folder, name)) || !limits.contains_key(&(*folder, (*name).to_owned()))
    });
    let mut found: Vec<Violation> = needless
        .map(|(folder, name)| Violation {
            path: (*folder).to_owned(),
            line: 1,
            what: format!("{name} is listed as untested, and has a test or is no more"),
            why: WHY_LISTED,
        })
        .collect();
    let is_met = |at: &(&str, &str)| tested.contains(at) || listed.contains(at);
    found.extend(
        limits.into_iter().filter(|((folder, name), _)| !is_met(&(folder, name))).map(|(_, missing)| missing),
    );
    found
}

/// The folder of the crate that a file is in.
fn crate_of(path: &str) -> Option<&str> {
    FOLDERS.iter().find(|folder| path.starts_with(*folder))?;
    path.split_once("/src/").or_else(|| path.split_once("/tests/")).map(|(folder, _)| folder)
}

/// Also the modules that a crate compiles for its tests only, in files of their own.
fn is_test(source: &Source) -> bool {
    source.is_test() || source.path.ends_with("_tests.rs") || source.path.contains("/src/simulation/")
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// Limits with their lines, and the lines of items that only tests compile.
#[derive(Default)]
struct Constants {
    limits: Vec<(String, usize)>,
    test_lines: Vec<(usize, usize)>,
}

impl<'ast> Visit<'ast> for Constants {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_test_only(attributes(item)) {
            self.test_lines.push(lines(item));
            return;
        }
        visit::visit_item(self, item);
    }

    fn visit_item_const(&mut self, constant: &'ast syn::ItemConst) {
        let name = constant.ident.to_string();
        if name.ends_with("_MAX") || name.ends_with("_MIN") {
            self.limits.push((name, lines(constant).0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)], untested: &[(&str, &[&str])]) -> Vec<String> {
        let parse =
            |(path, text): &(&str, &str)| Source::parse(path, text).expect("the test's own text is Rust");
        let sources: Vec<_> = files.iter().map(parse).collect();
        check(&sources, untested).into_iter().map(|violation| violation.what).collect()
    }

    const LIMIT: (&str, &str) = ("storage/a/src/limits.rs", "pub const WAITS_MAX: u32 = 7;");

    #[test]
    fn a_limit_needs_a_test_that_names_it() {
        let missing = ["no test names WAITS_MAX"];
        assert_eq!(found(&[LIMIT], &[]), missing);
        let named = "fn f() { assert(WAITS_MAX + 1); }";
        for path in ["storage/a/tests/x.rs", "storage/a/src/x/tests.rs", "storage/a/src/x_tests.rs"] {
            assert_eq!(found(&[LIMIT, (path, named)], &[]), [""; 0], "{path}");
        }
        let inside = format!("#[cfg(test)] mod tests {{ {named} }}");
        assert_eq!(found(&[LIMIT, ("storage/a/src/x.rs", &inside)], &[]), [""; 0]);
        assert_eq!(found(&[LIMIT, ("storage/a/src/x.rs", named)], &[]), missing, "code is no test");
        assert_eq!(found(&[LIMIT, ("storage/b/tests/x.rs", named)], &[]), missing, "another crate's");
        let longer = "fn f() { assert(ALL_WAITS_MAX); }";
        assert_eq!(found(&[LIMIT, ("storage/a/tests/x.rs", longer)], &[]), missing, "another limit's");
        assert_eq!(found(&[("storage/a/src/x.rs", "const WAITS: u32 = 7;")], &[]), [""; 0]);
        assert_eq!(found(&[("conformance/src/x.rs", "const WAITS_MAX: u32 = 7;")], &[]), [""; 0]);
    }

    #[test]
    fn the_list_only_gets_shorter() {
        let listed: [(&str, &[&str]); 1] = [("storage/a", &["WAITS_MAX"])];
        assert_eq!(found(&[LIMIT], &listed), [""; 0]);
        let needless = ["WAITS_MAX is listed as untested, and has a test or is no more"];
        assert_eq!(found(&[], &listed), needless);
        assert_eq!(found(&[LIMIT, ("storage/a/tests/x.rs", "fn f() { WAITS_MAX; }")], &listed), needless);
    }
}
