//! Fanout: every binding, whatever the key.

use crate::record::{Binding, RouteEnd};

pub(super) fn targets(bindings: &[Binding], found: &mut Vec<RouteEnd>) {
    found.extend(bindings.iter().map(|binding| binding.target));
}
