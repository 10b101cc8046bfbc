//! The rules that keep the tree's shape, as code: which crate may use which, what a module may import, how files begin,
//! what things may be called, how long they may grow. `cargo test -p mailrail-tidy` holds the tree against them.
//! It is no style checker: layout is rustfmt's, and what clippy can say clippy says. A rule stands here only with its
//! reason, and each has a test with an input that breaks it.
use std::fmt;

mod edges;
mod rules;
mod source;
mod tree;

pub use edges::{Crate, check_edges};
pub use rules::check_source;
pub use rules::limits::check_limits;
pub use rules::lints::check_lints;
pub use rules::names::check_path;
pub use rules::one_door::check_doors;
pub use rules::sizes::check_generated;
pub use source::{Source, SourceError};
pub use tree::{TreeError, crates, source_paths};

/// One place that breaks one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// From the top of the repository.
    pub path: String,
    /// Counted from 1; 1 when the whole file is meant.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// Why the rule exists.
    pub why: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} ({})", self.path, self.line, self.what, self.why)
    }
}
