//! One file per rule on sources; each is a function from a file to what breaks the rule in it.
pub mod head;
pub mod imports;
pub mod inside_codec;
pub mod limits;
pub mod lints;
pub mod names;
pub mod one_door;
pub mod sizes;

use crate::{Source, Violation};

/// Everything that one Rust file breaks.
pub fn check_source(source: &Source) -> Vec<Violation> {
    [
        head::check,
        imports::check,
        inside_codec::check,
        lints::check_reasons,
        names::check_modules,
        sizes::check,
    ]
    .iter()
    .flat_map(|rule| rule(source))
    .collect()
}
