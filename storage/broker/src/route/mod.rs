//! From the name a producer uses to the topics a message goes to. One file per kind of exchange.

mod direct;
mod fanout;
pub(crate) mod headers;
mod topic;

use std::cell::OnceCell;
use std::collections::BTreeSet;

use crate::error::Error;
use crate::ids::*;
use crate::limits::*;
use crate::record::{Binding, RouteEnd};
use crate::settings::ExchangeKind;

/// Bindings of one source, with whatever index its kind needs.
#[derive(Debug)]
pub(crate) struct Routes {
    /// In the order of their targets, so that those of one target lie together.
    bindings: BTreeSet<Binding>,
    index: Index,
}

#[derive(Debug)]
enum Index {
    Direct(direct::Keys),
    Fanout,
    Topic(Box<topic::Patterns>),
    Headers,
}

/// What is looked at in a message to find its way.
pub(crate) struct Traits<'a> {
    /// It goes where any of these leads.
    keys: &'a [&'a str],
    record: &'a [u8],
    /// Read when the first exchange asks for them.
    headers: OnceCell<headers::Found<'a>>,
}

impl<'a> Traits<'a> {
    /// `record` is that of the message, with its header.
    pub fn new(keys: &'a [&'a str], record: &'a [u8]) -> Self {
        Traits { keys, record, headers: OnceCell::new() }
    }

    fn headers(&self) -> &headers::Found<'a> {
        self.headers.get_or_init(|| headers::found(self.record))
    }
}

impl Routes {
    pub fn new(kind: ExchangeKind) -> Self {
        let index = match kind {
            ExchangeKind::Direct => Index::Direct(direct::Keys::default()),
            ExchangeKind::Fanout => Index::Fanout,
            ExchangeKind::Topic => Index::Topic(Box::default()),
            ExchangeKind::Headers => Index::Headers,
        };
        Routes { bindings: BTreeSet::new(), index }
    }

    /// Adds a binding; false when it is there already.
    pub fn add(&mut self, binding: Binding) -> bool {
        if self.bindings.contains(&binding) {
            return false;
        }
        match &mut self.index {
            Index::Direct(keys) => keys.add(&binding),
            Index::Fanout | Index::Headers => {}
            Index::Topic(patterns) => patterns.add(&binding),
        }
        self.bindings.insert(binding)
    }

    /// Removes a binding; false when there was none.
    pub fn remove(&mut self, binding: &Binding) -> bool {
        if !self.bindings.remove(binding) {
            return false;
        }
        match &mut self.index {
            Index::Direct(keys) => keys.remove(binding),
            Index::Fanout | Index::Headers => {}
            Index::Topic(patterns) => patterns.remove(binding),
        }
        true
    }

    /// Removes every binding to a target that has gone.
    pub fn remove_target(&mut self, target: RouteEnd) {
        while let Some(binding) = self.first_to(target).cloned() {
            self.remove(&binding);
        }
    }

    /// Whether any binding leads to a target.
    pub fn lead_to(&self, target: RouteEnd) -> bool {
        self.first_to(target).is_some()
    }

    pub fn contains(&self, binding: &Binding) -> bool {
        self.bindings.contains(binding)
    }

    /// All bindings, in the order of their targets.
    pub fn bindings(&self) -> impl ExactSizeIterator<Item = &Binding> {
        self.bindings.iter()
    }

    /// Those to one target; without one, all of them.
    pub fn bindings_to(&self, target: Option<RouteEnd>) -> impl Iterator<Item = &Binding> {
        let first = target.unwrap_or(RouteEnd::Exchange(ExchangeId(0)));
        let least = Binding { key: String::new(), target: first, attributes: Vec::new() };
        let is_wanted = move |binding: &&Binding| target.is_none_or(|target| binding.target == target);
        self.bindings.range(least..).take_while(is_wanted)
    }

    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    fn first_to(&self, target: RouteEnd) -> Option<&Binding> {
        self.bindings_to(Some(target)).next()
    }

    /// Adds where a message goes from here; a target may be named more than once.
    pub fn targets(&self, message: &Traits<'_>, found: &mut Vec<RouteEnd>) {
        match &self.index {
            Index::Direct(by_key) => message.keys.iter().for_each(|key| by_key.targets(key, found)),
            Index::Fanout => fanout::targets(&self.bindings, found),
            Index::Topic(patterns) => message.keys.iter().for_each(|key| patterns.targets(key, found)),
            Index::Headers => headers::targets(&self.bindings, message.headers(), found),
        }
    }

    /// Whether bindings with such attributes can be kept here.
    pub fn check(kind: ExchangeKind, attributes: &[u8]) -> Result<(), Error> {
        limit("bytes of a binding's attributes", attributes.len(), BINDING_ATTRIBUTES_BYTES_MAX)?;
        if kind == ExchangeKind::Headers { headers::check(attributes) } else { Ok(()) }
    }
}

/// Takes one of the places of a target off a list.
fn take(targets: &mut Vec<RouteEnd>, target: RouteEnd) {
    if let Some(at) = targets.iter().position(|found| *found == target) {
        targets.swap_remove(at);
    }
}

/// Topics that a message reaches from `source`, each once, through exchanges bound to exchanges; `lead` adds where it
/// goes from one end. Cycles end, since an exchange is passed once.
pub(crate) fn resolve(
    source: RouteEnd,
    mut lead: impl FnMut(RouteEnd, &mut Vec<RouteEnd>),
    topics: &mut Vec<TopicId>,
) -> Result<(), Error> {
    let (mut found, mut passed) = (Vec::new(), vec![source]);
    let mut next = 0;
    while let Some(from) = passed.get(next).copied() {
        next += 1;
        lead(from, &mut found);
        for target in found.drain(..) {
            match target {
                RouteEnd::Topic(topic) => topics.push(topic),
                RouteEnd::Exchange(_) if passed.contains(&target) => {}
                RouteEnd::Exchange(_) => passed.push(target),
            }
        }
        limit("exchanges passed by a message", passed.len(), ROUTE_HOPS_MAX)?;
    }
    topics.sort_unstable();
    topics.dedup();
    limit("topics reached by a message", topics.len(), ROUTE_TARGETS_MAX)
}

pub(crate) fn limit(what: &'static str, value: usize, max: usize) -> Result<(), Error> {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    if value > max { Err(Error::Limit { what, value: number(value), max: number(max) }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
