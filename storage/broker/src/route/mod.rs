//! From the name a producer uses to the topics a message goes to. One file per kind of exchange.

mod direct;
mod fanout;
mod topic;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::ids::*;
use crate::limits::*;
use crate::record::{Binding, RouteEnd};
use crate::settings::ExchangeKind;

/// Bindings of one source, with whatever index its kind needs.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    kind: ExchangeKind,
    bindings: Vec<Binding>,
    known: FxHashSet<Binding>,
    /// Direct exchanges: targets by key.
    by_key: FxHashMap<String, Vec<RouteEnd>>,
}

impl Routes {
    pub fn new(kind: ExchangeKind) -> Self {
        Routes { kind, bindings: Vec::new(), known: FxHashSet::default(), by_key: FxHashMap::default() }
    }

    /// Adds a binding; false when it is there already.
    pub fn add(&mut self, binding: Binding) -> bool {
        if !self.known.insert(binding.clone()) {
            return false;
        }
        if self.kind == ExchangeKind::Direct {
            direct::add(&mut self.by_key, &binding);
        }
        self.bindings.push(binding);
        true
    }

    /// Removes a binding; false when there was none.
    pub fn remove(&mut self, binding: &Binding) -> bool {
        let is_known = self.contains(binding);
        if is_known {
            self.retain(|kept| kept != binding);
        }
        is_known
    }

    /// Removes every binding to a target that has gone; true when there was one.
    pub fn remove_target(&mut self, target: RouteEnd) -> bool {
        let is_target = self.bindings.iter().any(|binding| binding.target == target);
        if is_target {
            self.retain(|kept| kept.target != target);
        }
        is_target
    }

    pub fn contains(&self, binding: &Binding) -> bool {
        self.known.contains(binding)
    }

    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.bindings.len() >= EXCHANGE_BINDINGS_MAX
    }

    fn retain(&mut self, keep: impl Fn(&Binding) -> bool) {
        self.bindings.retain(|binding| keep(binding));
        self.known.retain(|binding| keep(binding));
        self.by_key.clear();
        if self.kind == ExchangeKind::Direct {
            for binding in &self.bindings {
                direct::add(&mut self.by_key, binding);
            }
        }
    }

    fn targets(&self, key: &str, found: &mut Vec<RouteEnd>) {
        match self.kind {
            ExchangeKind::Direct => direct::targets(&self.by_key, key, found),
            ExchangeKind::Fanout => fanout::targets(&self.bindings, found),
            ExchangeKind::Topic => topic::targets(&self.bindings, key, found),
        }
    }
}

/// Topics that a message with this key reaches from `source`, each once, through exchanges bound to exchanges. Cycles
/// end, since an exchange is passed once.
pub(crate) fn resolve<'a>(
    source: RouteEnd,
    key: &str,
    routes: impl Fn(RouteEnd) -> Option<&'a Routes>,
    topics: &mut Vec<TopicId>,
) {
    let (mut found, mut passed) = (Vec::new(), vec![source]);
    let mut next = 0;
    while let Some(from) = passed.get(next).copied() {
        next += 1;
        found.clear();
        if let Some(routes) = routes(from) {
            routes.targets(key, &mut found);
        }
        for target in &found {
            match target {
                RouteEnd::Topic(topic) if !topics.contains(topic) => topics.push(*topic),
                RouteEnd::Exchange(_) if !passed.contains(target) && passed.len() < ROUTE_HOPS_MAX => {
                    passed.push(*target);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(key: &str, target: RouteEnd) -> Binding {
        Binding { key: key.into(), target, attributes: Vec::new() }
    }

    #[test]
    fn a_chain_of_exchanges_is_followed_to_its_limit() {
        let through = |exchanges: u64| {
            let chain: Vec<Routes> = (0..exchanges)
                .map(|number| {
                    let is_last = number + 1 == exchanges;
                    let next = RouteEnd::Exchange(ExchangeId(number + 1));
                    let mut routes = Routes::new(ExchangeKind::Fanout);
                    routes.add(binding("", if is_last { RouteEnd::Topic(TopicId(9)) } else { next }));
                    routes
                })
                .collect();
            let routes = |end| match end {
                RouteEnd::Exchange(ExchangeId(number)) => chain.get(number as usize),
                RouteEnd::Topic(_) => None,
            };
            let mut topics = Vec::new();
            resolve(RouteEnd::Exchange(ExchangeId(0)), "k", routes, &mut topics);
            topics.len()
        };
        let max = ROUTE_HOPS_MAX as u64;
        assert_eq!((through(max), through(max + 1)), (1, 0));
    }

    #[test]
    fn passes_cycles_once_and_reaches_each_topic_once() {
        let (a, b) = (RouteEnd::Exchange(ExchangeId(1)), RouteEnd::Exchange(ExchangeId(2)));
        let topic = RouteEnd::Topic(TopicId(9));
        let (mut from_a, mut from_b) = (Routes::new(ExchangeKind::Direct), Routes::new(ExchangeKind::Fanout));
        for to in [b, topic] {
            assert!(from_a.add(binding("k", to)) && !from_a.add(binding("k", to)));
        }
        for to in [a, topic] {
            from_b.add(binding("", to));
        }
        let routes = |end| if end == a { Some(&from_a) } else { Some(&from_b) };
        let mut topics = Vec::new();
        resolve(a, "k", routes, &mut topics);
        assert_eq!(topics, [TopicId(9)]);
        let mut none = Vec::new();
        resolve(a, "other", routes, &mut none);
        assert!(none.is_empty());
        assert!(from_a.remove_target(topic) && !from_a.remove_target(topic));
        assert!(from_a.remove(&binding("k", b)) && from_a.is_empty());
    }
}
