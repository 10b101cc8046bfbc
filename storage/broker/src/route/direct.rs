//! Direct: binding key equals routing key.

use rustc_hash::FxHashMap;

use crate::record::{Binding, RouteEnd};

pub(super) fn add(by_key: &mut FxHashMap<String, Vec<RouteEnd>>, binding: &Binding) {
    by_key.entry(binding.key.clone()).or_default().push(binding.target);
}

pub(super) fn targets(by_key: &FxHashMap<String, Vec<RouteEnd>>, key: &str, found: &mut Vec<RouteEnd>) {
    found.extend(by_key.get(key).into_iter().flatten());
}
