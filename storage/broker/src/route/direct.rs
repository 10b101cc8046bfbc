//! Direct: binding key equals routing key.

use rustc_hash::FxHashMap;

use crate::record::{Binding, RouteEnd};

/// Targets by binding key.
#[derive(Debug, Default)]
pub(super) struct Keys(FxHashMap<String, Vec<RouteEnd>>);

impl Keys {
    pub fn add(&mut self, binding: &Binding) {
        self.0.entry(binding.key.clone()).or_default().push(binding.target);
    }

    pub fn remove(&mut self, binding: &Binding) {
        let Some(targets) = self.0.get_mut(&binding.key) else { return };
        super::take(targets, binding.target);
        if targets.is_empty() {
            self.0.remove(&binding.key);
        }
    }

    pub fn targets(&self, key: &str, found: &mut Vec<RouteEnd>) {
        found.extend(self.0.get(key).into_iter().flatten());
    }
}
