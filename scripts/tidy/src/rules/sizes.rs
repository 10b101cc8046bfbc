//! How long functions and files may grow. Functions of tests are not counted, files of tests are; what a generator wrote
//! is not read by people and not counted at all, if a test generates it again and compares.
use syn::visit::{self, Visit};

use crate::source::{attributes, is_test_only, lines};
use crate::{Source, Violation};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;
/// What a generator wrote, and the test that would notice a change by hand. A mark in the file itself would let anyone out.
const GENERATED: &[(&str, &str)] =
    &[("protocols/amqp/src/codec/methods.rs", "protocols/amqp/tests/methods_table.rs")];
const WHY_FUNCTION: &str = "what does not fit on a screen cannot be checked at a glance";
const WHY_FILE: &str = "a file this long holds more than one responsibility";
const WHY_GENERATED: &str = "only what a test generates again may be longer than people can read";

pub fn check(source: &Source) -> Vec<Violation> {
    if GENERATED.iter().any(|(path, _)| *path == source.path) {
        return Vec::new();
    }
    let mut functions = Functions { path: &source.path, found: Vec::new() };
    if !source.is_test() {
        functions.visit_file(&source.file);
    }
    let file_lines = source.text.lines().count();
    if file_lines > FILE_LINES_MAX {
        functions.found.push(Violation {
            path: source.path.clone(),
            line: 1,
            what: format!("{file_lines} lines, at most {FILE_LINES_MAX}"),
            why: WHY_FILE,
        });
    }
    functions.found
}

/// Every generated file is there, and so is a test that names it.
pub fn check_generated(sources: &[Source]) -> Vec<Violation> {
    let find = |path: &str| sources.iter().find(|source| source.path == path);
    let is_compared = |path: &str, test: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        find(path).is_some() && find(test).is_some_and(|test| test.is_test() && test.text.contains(name))
    };
    let broken = GENERATED.iter().filter(|(path, test)| !is_compared(path, test));
    broken
        .map(|(path, test)| Violation {
            path: (*path).to_owned(),
            line: 1,
            what: format!("is not generated again by {test}"),
            why: WHY_GENERATED,
        })
        .collect()
}

struct Functions<'a> {
    path: &'a str,
    found: Vec<Violation>,
}

impl Functions<'_> {
    /// From the signature to the closing brace: attributes and documentation may be as long as they need.
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (lines(signature).0, lines(block).1);
        let count = last + 1 - first;
        if count > FUNCTION_LINES_MAX {
            self.found.push(Violation {
                path: self.path.to_owned(),
                line: first,
                what: format!("function {} of {count} lines, at most {FUNCTION_LINES_MAX}", signature.ident),
                why: WHY_FUNCTION,
            });
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let source = Source::parse(path, text).expect("the test's own text is Rust");
        check(&source).into_iter().map(|violation| violation.what).collect()
    }

    /// A function of exactly so many lines.
    fn function(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    let _ = 1;\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_may_have_seventy_lines_and_no_more() {
        assert_eq!(found("a.rs", &function(70)), [""; 0]);
        assert_eq!(found("a.rs", &function(71)), ["function long of 71 lines, at most 70"]);
        assert_eq!(found("a.rs", &format!("impl T {{ {} }}", function(71))).len(), 1);
        assert_eq!(found("a.rs", &format!("trait T {{ {} }}", function(71))).len(), 1);
        assert_eq!(found("a.rs", &format!("mod m {{ {} }}", function(71))).len(), 1);
        assert_eq!(found("a.rs", &format!("{}{}", "/// Doc.\n".repeat(30), function(60))), [""; 0]);
    }

    #[test]
    fn functions_of_tests_are_not_counted() {
        assert_eq!(found("a.rs", &format!("#[cfg(test)]\nmod tests {{ {} }}", function(90))), [""; 0]);
        assert_eq!(found("x/tests/a.rs", &function(90)), [""; 0]);
        assert_eq!(found("a.rs", &format!("#[cfg(not(test))]\nmod m {{ {} }}", function(90))).len(), 1);
    }

    #[test]
    fn a_file_may_have_eight_hundred_lines_and_no_more() {
        assert_eq!(found("a.rs", &"// x\n".repeat(800)), [""; 0]);
        assert_eq!(found("a.rs", &"// x\n".repeat(801)), ["801 lines, at most 800"]);
        assert_eq!(found("x/tests/a.rs", &"// x\n".repeat(801)).len(), 1);
    }

    #[test]
    fn only_what_a_test_generates_again_may_be_longer() {
        let long = format!("// @generated by x\n{}", "// x\n".repeat(900));
        assert_eq!(found("a.rs", &long).len(), 1);
        for (path, test) in GENERATED {
            assert_eq!(found(path, &long), [""; 0]);
            let parse =
                |path: &str, text: &str| Source::parse(path, text).expect("the test's own text is Rust");
            let written = || parse(path, &long);
            let comparing = parse(test, &format!("const COMMITTED: &str = {path:?};"));
            assert!(check_generated(&[written(), comparing]).iter().all(|broken| broken.path != *path));
            for sources in [vec![], vec![written()], vec![written(), parse(test, "fn f() {}")]] {
                assert!(check_generated(&sources).iter().any(|broken| broken.path == *path));
            }
        }
    }
}
