//! Bindings in the state: from which source to which target, and where a message goes from one end.

use super::*;
use crate::access::AuditEntry;

/// Bytes of bindings that one record of a snapshot holds, and one binding more.
const RECORD_BINDINGS_BYTES: usize = 512 * 1024;
/// Runs of removed offsets that one has.
const RECORD_REMOVED_RUNS: usize = 16 * 1024;
/// Entries of the list of changes that one has.
const RECORD_AUDIT_ENTRIES: usize = 100;

impl Item {
    /// The item in pieces that fit into a record each, however many bindings it has: restoring a piece adds its own.
    pub fn into_records(self) -> Vec<Item> {
        match self {
            Item::Topic { id, name, settings, queues, bindings } => {
                let piece = |bindings| {
                    let (name, settings, queues) = (name.clone(), settings.clone(), queues.clone());
                    Item::Topic { id, name, settings, queues, bindings }
                };
                in_pieces(bindings).into_iter().map(piece).collect()
            }
            Item::Exchange { id, name, settings, bindings } => {
                let piece = |bindings| {
                    let (name, settings) = (name.clone(), settings.clone());
                    Item::Exchange { id, name, settings, bindings }
                };
                in_pieces(bindings).into_iter().map(piece).collect()
            }
            Item::Schedule(image) => {
                image.into_pieces().into_iter().map(|image| Item::Schedule(Box::new(image))).collect()
            }
            Item::Audit(entries) => in_records_of_audit(entries),
            Item::QueueCompacted {
                id,
                topic,
                index,
                next_offset,
                min_offset,
                last_store_ms,
                reserved_to,
                gaps,
                removed,
            } => {
                let piece = |part: &[(u64, u64)]| Item::QueueCompacted {
                    id,
                    topic,
                    index,
                    next_offset,
                    min_offset,
                    last_store_ms,
                    reserved_to,
                    gaps: gaps.clone(),
                    removed: part.to_vec(),
                };
                removed.chunks(RECORD_REMOVED_RUNS).map(piece).collect()
            }
            other => vec![other],
        }
    }
}

fn in_records_of_audit(entries: Vec<AuditEntry>) -> Vec<Item> {
    entries.chunks(RECORD_AUDIT_ENTRIES).map(|entries| Item::Audit(entries.to_vec())).collect()
}

/// One piece at least.
fn in_pieces(bindings: Vec<Binding>) -> Vec<Vec<Binding>> {
    let mut pieces = vec![Vec::new()];
    let mut bytes = 0;
    for binding in bindings {
        if bytes >= RECORD_BINDINGS_BYTES {
            pieces.push(Vec::new());
            bytes = 0;
        }
        bytes += size_of::<Binding>() + binding.key.len() + binding.attributes.len();
        if let Some(piece) = pieces.last_mut() {
            piece.push(binding);
        }
    }
    pieces
}

impl State {
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
