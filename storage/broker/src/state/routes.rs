//! Exchanges and bindings in the state: from which source to which target, and where a message goes from one end.

use super::*;

impl State {
    pub(super) fn put_exchange(&mut self, id: ExchangeId, name: &str, settings: &ExchangeSettings) {
        self.saw_id(id.0);
        if self.exchanges.contains_key(&id) {
            return;
        }
        self.before_change(ItemKey::Exchange(id));
        let shared = Arc::new(Exchange::new(id, Arc::from(name), settings.clone()));
        self.directory.put_exchange(shared.clone());
        self.exchanges.insert(id, ExchangeState { shared, routes: Routes::new(settings.kind), as_of: 0 });
        self.dirty.insert(ItemKey::Exchange(id));
    }

    pub(super) fn delete_exchange(&mut self, id: ExchangeId) {
        self.remove_target(RouteEnd::Exchange(id));
        self.before_change(ItemKey::Exchange(id));
        let Some(exchange) = self.exchanges.remove(&id) else { return };
        self.forget_source(RouteEnd::Exchange(id), &exchange.routes);
        self.directory.remove_exchange(&exchange.shared);
        self.dirty.insert(ItemKey::Exchange(id));
    }

    /// The routes that start at a source.
    pub fn routes(&self, source: RouteEnd) -> Option<&Routes> {
        match source {
            RouteEnd::Exchange(id) => self.exchanges.get(&id).map(|exchange| &exchange.routes),
            RouteEnd::Topic(id) => self.topics.get(&id).and_then(|topic| topic.routes.as_ref()),
        }
    }

    /// Adds where a message goes from one end: by the bindings there, or to the alternate exchange if none fits.
    pub fn lead(&self, from: RouteEnd, message: &Traits<'_>, found: &mut Vec<RouteEnd>) {
        let Some(routes) = self.routes(from) else { return };
        let before = found.len();
        routes.targets(message, found);
        if found.len() == before
            && let RouteEnd::Exchange(id) = from
            && let Some(name) = self.exchanges.get(&id).and_then(|from| from.shared.settings.alternate())
            && let Some(alternate) = self.directory.exchange(name)
        {
            found.push(RouteEnd::Exchange(alternate.id));
        }
    }

    /// Sources with bindings that lead to a target.
    pub fn sources_of(&self, target: RouteEnd) -> Vec<RouteEnd> {
        let first = (target, RouteEnd::Exchange(ExchangeId(0)));
        let pairs = self.sources.range(first..).take_while(|(found, _)| *found == target);
        pairs.map(|(_, source)| *source).collect()
    }

    /// Adds a binding to a source that there is.
    pub(super) fn add_binding(&mut self, source: RouteEnd, binding: Binding) {
        let routes = match source {
            RouteEnd::Exchange(id) => self.exchanges.get_mut(&id).map(|exchange| &mut exchange.routes),
            RouteEnd::Topic(id) => {
                let topic = self.topics.get_mut(&id);
                topic.map(|topic| topic.routes.get_or_insert_with(|| Routes::new(ExchangeKind::Topic)))
            }
        };
        if let Some(routes) = routes {
            self.sources.insert((binding.target, source));
            routes.add(binding);
        }
    }

    pub(super) fn bind(&mut self, position: u64, source: RouteEnd, binding: &Binding) {
        if self.is_before(position, source) {
            self.before_change(item_of(source));
            self.add_binding(source, binding.clone());
            self.dirty.insert(item_of(source));
        }
    }

    pub(super) fn unbind(&mut self, position: u64, source: RouteEnd, binding: &Binding) {
        if self.is_before(position, source) {
            self.change_routes(source, binding.target, |routes| {
                routes.remove(binding);
            });
        }
    }

    /// Also of a target that a checkpoint has removed already: not all that pointed to it need be in there.
    pub(super) fn remove_target(&mut self, target: RouteEnd) {
        for source in self.sources_of(target) {
            self.change_routes(source, target, |routes| routes.remove_target(target));
        }
    }

    /// A source goes, and its bindings with it.
    pub(super) fn forget_source(&mut self, source: RouteEnd, routes: &Routes) {
        for binding in routes.bindings() {
            self.sources.remove(&(binding.target, source));
        }
    }

    /// Changes bindings of a source to one target.
    fn change_routes(&mut self, source: RouteEnd, target: RouteEnd, change: impl FnOnce(&mut Routes)) {
        self.before_change(item_of(source));
        let routes = match source {
            RouteEnd::Exchange(id) => self.exchanges.get_mut(&id).map(|exchange| &mut exchange.routes),
            RouteEnd::Topic(id) => self.topics.get_mut(&id).and_then(|topic| topic.routes.as_mut()),
        };
        let Some(routes) = routes else { return };
        change(routes);
        if !routes.lead_to(target) {
            self.sources.remove(&(target, source));
        }
        if routes.is_empty()
            && let RouteEnd::Topic(id) = source
            && let Some(topic) = self.topics.get_mut(&id)
        {
            topic.routes = None;
        }
        self.dirty.insert(item_of(source));
    }

    /// True for a source whose bindings no checkpoint holds as they are behind a position.
    fn is_before(&self, position: u64, source: RouteEnd) -> bool {
        let as_of = match source {
            RouteEnd::Exchange(id) => self.exchanges.get(&id).map(|exchange| exchange.as_of),
            RouteEnd::Topic(id) => self.topics.get(&id).map(|topic| topic.as_of),
        };
        as_of.is_some_and(|as_of| as_of <= position)
    }
}

/// The piece of the state that holds the bindings of a source.
fn item_of(source: RouteEnd) -> ItemKey {
    match source {
        RouteEnd::Exchange(id) => ItemKey::Exchange(id),
        RouteEnd::Topic(id) => ItemKey::Topic(id),
    }
}
