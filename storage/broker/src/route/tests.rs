//! Routes by hand: circles, chains, and what is added and removed. No shard and no log.

use super::*;

fn binding(key: &str, target: RouteEnd) -> Binding {
    Binding { key: key.into(), target, attributes: Vec::new() }
}

fn exchange(number: u64) -> RouteEnd {
    RouteEnd::Exchange(ExchangeId(number))
}

fn resolved(
    source: RouteEnd,
    key: &str,
    routes: impl Fn(RouteEnd) -> Option<Routes>,
) -> Result<Vec<u64>, Error> {
    let mut topics = Vec::new();
    let lead = |end, found: &mut Vec<RouteEnd>| {
        if let Some(routes) = routes(end) {
            routes.targets(&Traits::new(&[key], &[]), found);
        }
    };
    resolve(source, lead, &mut topics).map(|()| topics.iter().map(|topic| topic.0).collect())
}

#[test]
fn passes_cycles_once_and_reaches_each_topic_once() {
    let topic = RouteEnd::Topic(TopicId(9));
    let made = |end| {
        let (kind, key, to) = match end == exchange(1) {
            true => (ExchangeKind::Direct, "k", [exchange(2), topic]),
            false => (ExchangeKind::Fanout, "", [exchange(1), topic]),
        };
        let mut routes = Routes::new(kind);
        for target in to {
            assert!(routes.add(binding(key, target)) && !routes.add(binding(key, target)));
        }
        Some(routes)
    };
    assert_eq!(resolved(exchange(1), "k", made), Ok(vec![9]));
    assert_eq!(resolved(exchange(1), "other", made), Ok(vec![]));
}

#[test]
fn a_chain_of_exchanges_has_a_limit_that_is_told() {
    let max = u64::try_from(ROUTE_HOPS_MAX).unwrap();
    let chain = |length: u64| {
        move |end| {
            let RouteEnd::Exchange(ExchangeId(number)) = end else { return None };
            let mut routes = Routes::new(ExchangeKind::Fanout);
            routes.add(match number == length {
                true => binding("", RouteEnd::Topic(TopicId(7))),
                false => binding("", exchange(number + 1)),
            });
            Some(routes)
        }
    };
    assert_eq!(resolved(exchange(1), "", chain(max)), Ok(vec![7]));
    let error = resolved(exchange(1), "", chain(max + 1)).unwrap_err();
    assert_eq!(error.to_string(), "exchanges passed by a message is 65; at most 64 is allowed");
}

#[test]
fn what_is_added_can_be_removed_one_by_one_and_by_target() {
    for kind in [ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeKind::Topic] {
        let mut routes = Routes::new(kind);
        let (here, there) = (RouteEnd::Topic(TopicId(1)), RouteEnd::Topic(TopicId(2)));
        let of = |routes: &Routes, key: &str| {
            let mut found = Vec::new();
            routes.targets(&Traits::new(&[key], &[]), &mut found);
            found.sort_unstable();
            found.dedup();
            found
        };
        let with = Binding { attributes: vec![1], ..binding("a.b", here) };
        for added in [binding("a.b", here), binding("c", here), binding("a.b", there), with.clone()] {
            assert!(routes.add(added));
        }
        assert_eq!(of(&routes, "a.b"), [here, there], "{kind:?}");
        assert!(routes.remove(&binding("a.b", here)) && !routes.remove(&binding("a.b", here)));
        assert_eq!(of(&routes, "a.b"), [here, there], "{kind:?}: the same but for its attributes stays");
        assert!(routes.remove(&with) && routes.lead_to(here));
        routes.remove_target(here);
        assert!(!routes.lead_to(here) && routes.lead_to(there));
        assert_eq!(of(&routes, "a.b"), [there], "{kind:?}");
        assert!(of(&routes, "c").is_empty() || kind == ExchangeKind::Fanout);
        routes.remove_target(there);
        assert!(routes.is_empty() && of(&routes, "a.b").is_empty(), "{kind:?}");
    }
}

#[test]
fn a_message_reaches_topics_up_to_the_limit() {
    let to = |count: usize| {
        let lead = |_, found: &mut Vec<RouteEnd>| {
            found.extend((0..count as u64).map(|number| RouteEnd::Topic(TopicId(number))));
        };
        let mut topics = Vec::new();
        resolve(exchange(1), lead, &mut topics).map(|()| topics.len())
    };
    let (max, most) = (ROUTE_TARGETS_MAX as u64, ROUTE_TARGETS_MAX);
    assert_eq!(to(most), Ok(most));
    let error = Error::Limit { what: "topics reached by a message", value: max + 1, max };
    assert_eq!(to(most + 1), Err(error));
}
