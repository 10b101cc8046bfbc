//! Fanout: every binding, whatever the key.

use std::collections::BTreeSet;

use crate::record::{Binding, RouteEnd};

pub(super) fn targets(bindings: &BTreeSet<Binding>, found: &mut Vec<RouteEnd>) {
    found.extend(bindings.iter().map(|binding| binding.target));
}
