//! What happens in a history. Whom or what an act is about is a number that is taken modulo what there is, so that acts
//! stay meaningful when others are left out.

use proptest::prelude::*;

use super::broker::{GroupRules, Key, TopicRules};
use super::queue::Name;
use crate::command::{Decision, Outcome};
use crate::policy::Overflow;
use crate::settings::Order;

pub const TOPICS: [Name; 6] = ["t", "f", "p", "q", "d", "e"];
/// Groups with the topics that they consume.
pub const KEYS: [Key; 8] =
    [("g", "t"), ("h", "t"), ("g", "f"), ("k", "f"), ("p", "p"), ("q", "q"), ("d", "d"), ("m", "e")];
pub const GROUPS: [Name; 7] = ["g", "h", "k", "p", "q", "d", "m"];
/// Groups of producers.
pub const PRODUCERS: [Name; 2] = ["g", "h"];
pub const SESSIONS: usize = 3;

#[derive(Clone, Debug)]
pub struct Setup {
    pub topics: Vec<TopicRules>,
    pub groups: Vec<GroupRules>,
}

#[derive(Clone, Debug)]
pub enum Act {
    Publish {
        topic: usize,
        queue: Option<u32>,
        count: u8,
        memory: bool,
        sent: Sent,
    },
    Receive {
        key: usize,
        session: usize,
        max: u8,
        lease_ms: u64,
        wait_ms: u64,
    },
    Settle {
        which: usize,
        count: u8,
        outcome: Outcome,
    },
    /// Whatever lease was ever granted, the newest first.
    SettleAny {
        back: usize,
        outcome: Outcome,
    },
    Extend {
        which: usize,
        lease_ms: u64,
    },
    PassMs(u64),
    /// The wall clock is set.
    Jump {
        ms: i64,
    },
    /// A message that waits, or waited, the newest first.
    Recall {
        back: usize,
        names: Names,
    },
    /// A session has a producer of a group, or has none any more.
    Produce {
        session: usize,
        group: usize,
        stops: bool,
    },
    /// A message that is half one, or was, or never was, the newest first; all decisions come at once.
    EndHalf {
        back: usize,
        names: Names,
        decisions: Vec<Decision>,
    },
    /// Leases one message for a session, or settles it at once.
    Get {
        key: usize,
        session: usize,
        no_ack: bool,
    },
    Consume {
        key: usize,
        session: usize,
        credit: u8,
        no_ack: bool,
        exclusive: bool,
        priority: i64,
    },
    /// A member locks a queue, or all of a topic, for a time, or unlocks it.
    Lock {
        key: usize,
        session: usize,
        member: usize,
        queue: Option<u32>,
        lock_ms: Option<u64>,
    },
    Credit {
        which: usize,
        add: u8,
    },
    Cancel {
        which: usize,
    },
    Disconnect {
        session: usize,
    },
    Purge {
        key: usize,
    },
    Seek {
        key: usize,
        to: To,
    },
    Commit {
        key: usize,
        queue: u32,
        offset: u64,
    },
    Checkpoint,
    Kill {
        loses_store: bool,
    },
    /// From now on nothing is synced, until something must be or the power fails.
    StopSyncing,
    /// What was not synced is lost.
    PowerCut {
        loses_store: bool,
    },
}

impl Act {
    /// False for what is answered when it is written.
    pub fn needs_syncs(&self) -> bool {
        matches!(self, Act::Checkpoint | Act::Kill { .. })
    }
}

/// Where a seek goes: an offset or a time may be any.
#[derive(Clone, Copy, Debug)]
pub enum To {
    Earliest,
    Latest,
    BackMs(u64),
    Offset { queue: u32, offset: u64 },
}

/// Which topic a recall names, or which producers the end of a half message.
#[derive(Clone, Copy, Debug)]
pub enum Names {
    None,
    Its,
    Another,
}

impl Names {
    pub fn among(self, its: Name, all: &[Name]) -> Option<Name> {
        match self {
            Names::None => None,
            Names::Its => Some(its),
            Names::Another => all.iter().copied().find(|other| *other != its),
        }
    }
}

/// What a message says of itself.
#[derive(Clone, Debug)]
pub struct Sent {
    pub ttl_ms: Option<u64>,
    pub key: u8,
    pub priority: u8,
    /// It is seen so much later.
    pub delay_ms: Option<u64>,
    /// It is half a message: of which producers, and when they are asked first.
    pub half: Option<(usize, u64)>,
}

pub fn history(acts_max: usize) -> impl Strategy<Value = (Setup, Vec<Act>)> {
    (setup(), proptest::collection::vec(act(), acts_max..=acts_max))
}

fn setup() -> impl Strategy<Value = Setup> {
    let group = (
        prop_oneof![2 => Just(None), 3 => (0u32..4).prop_map(Some)],
        prop_oneof![Just(vec![]), Just(vec![100, 1_000]), Just(vec![700])],
        prop_oneof![2 => Just(None), 1 => Just(Some("d")), 1 => Just(Some("e"))],
        prop_oneof![3 => Just(Order::Any), 2 => Just(Order::Queue), 2 => Just(Order::Key)],
        prop_oneof![3 => Just(false), 1 => Just(true)],
    );
    let group = group.prop_map(|(attempts_max, backoff_ms, dead_letter, order, single_active)| GroupRules {
        attempts_max,
        backoff_ms,
        dead_letter,
        order,
        single_active,
    });
    let topic = (
        1u32..4,
        prop_oneof![2 => Just(None), 1 => Just(Some(1_500)), 1 => Just(Some(5_000))],
        prop_oneof![2 => Just(0u8), 1 => Just(3), 1 => Just(255)],
        prop_oneof![1 => Just(None), 2 => (1u64..8).prop_map(Some)],
        prop_oneof![
            2 => Just(Overflow::DropHead),
            1 => Just(Overflow::Reject),
            1 => Just(Overflow::RejectToDeadLetter)
        ],
        prop_oneof![1 => Just(None), 1 => Just(Some("d")), 1 => Just(Some("e"))],
    );
    let topic = topic.prop_map(|(queues, ttl_ms, priority_max, length_max, overflow, dead_letter)| {
        TopicRules { queues, is_owned: false, ttl_ms, priority_max, length_max, overflow, dead_letter }
    });
    let all =
        (proptest::collection::vec(topic, TOPICS.len()), proptest::collection::vec(group, GROUPS.len()));
    all.prop_map(|(topics, groups)| Setup {
        topics: TOPICS.into_iter().zip(topics).map(|(name, rules)| fit(name, rules)).collect(),
        groups: groups.into_iter().zip(GROUPS).map(|(rules, name)| fit_group(name, rules)).collect(),
    })
}

/// Rules that a topic may have. Dead letters end in "e".
fn fit(name: Name, rules: TopicRules) -> TopicRules {
    let endless = TopicRules { ttl_ms: None, length_max: None, dead_letter: None, ..rules.clone() };
    match name {
        "t" | "f" => TopicRules { is_owned: false, length_max: None, dead_letter: None, ..rules },
        "p" | "q" => TopicRules {
            is_owned: true,
            queues: if rules.length_max.is_some() { 1 } else { rules.queues },
            // Whether what has expired or what is too many goes first is left open.
            ttl_ms: rules.ttl_ms.filter(|_| rules.length_max.is_none()),
            ..rules
        },
        "d" => TopicRules { is_owned: true, dead_letter: rules.dead_letter.map(|_| "e"), ..endless },
        _ => TopicRules { is_owned: false, queues: 1, ..endless },
    }
}

fn fit_group(name: Name, rules: GroupRules) -> GroupRules {
    match name {
        "m" => GroupRules { dead_letter: None, ..rules },
        "d" => GroupRules { dead_letter: rules.dead_letter.map(|_| "e"), ..rules },
        _ => rules,
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Ack),
        3 => Just(Outcome::Retry { delay_ms: None }),
        1 => prop_oneof![Just(0u64), Just(30), Just(2_000)].prop_map(|ms| Outcome::Retry { delay_ms: Some(ms) }),
        2 => Just(Outcome::Release),
        2 => Just(Outcome::Reject),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let ttl_ms = prop_oneof![5 => Just(None), 1 => (1u64..3_000).prop_map(Some)];
    let priority = prop_oneof![2 => 0u8..5, 1 => Just(200)];
    let delay_ms = prop_oneof![
        9 => Just(None),
        3 => (0u64..3_000).prop_map(Some),
        1 => Just(Some(20_000)),
        1 => (3_590_000u64..3_610_000).prop_map(Some)
    ];
    let check_ms = prop_oneof![Just(0u64), 0u64..3_000];
    let half = prop_oneof![4 => Just(None), 1 => (0..PRODUCERS.len(), check_ms).prop_map(Some)];
    let sent = (ttl_ms, 0u8..4, priority, delay_ms, half);
    sent.prop_map(|(ttl_ms, key, priority, delay_ms, half)| Sent { ttl_ms, key, priority, delay_ms, half })
}

fn lease_ms() -> impl Strategy<Value = u64> {
    prop_oneof![Just(1u64), Just(50), Just(500), Just(1_500), Just(20_000)]
}

fn key() -> impl Strategy<Value = usize> {
    0..KEYS.len()
}

fn consume() -> impl Strategy<Value = Act> {
    let flags =
        (prop_oneof![3 => Just(false), 1 => Just(true)], prop_oneof![9 => Just(false), 1 => Just(true)]);
    let wanted = (key(), 0..SESSIONS, 0u8..6, flags, prop_oneof![4 => Just(0i64), 1 => -1i64..2]);
    wanted.prop_map(|(key, session, credit, (no_ack, exclusive), priority)| Act::Consume {
        key,
        session,
        credit,
        no_ack,
        exclusive,
        priority,
    })
}

fn to() -> impl Strategy<Value = To> {
    prop_oneof![
        2 => Just(To::Earliest),
        1 => Just(To::Latest),
        1 => (0u64..5_000).prop_map(To::BackMs),
        2 => (0u32..3, 0u64..40).prop_map(|(queue, offset)| To::Offset { queue, offset }),
    ]
}

/// As far as a clock is set.
pub const HOUR_MS: i64 = 3_600_000;

fn names() -> impl Strategy<Value = Names> {
    prop_oneof![3 => Just(Names::None), 3 => Just(Names::Its), 1 => Just(Names::Another)]
}

fn lock() -> impl Strategy<Value = Act> {
    let queue = prop_oneof![Just(None), (0u32..3).prop_map(Some)];
    let lock_ms = prop_oneof![1 => Just(None), 3 => lease_ms().prop_map(Some)];
    (key(), 0..SESSIONS, 0usize..2, queue, lock_ms)
        .prop_map(|(key, session, member, queue, lock_ms)| Act::Lock { key, session, member, queue, lock_ms })
}

fn half() -> impl Strategy<Value = Act> {
    let decision = || prop_oneof![2 => Just(Decision::Commit), 1 => Just(Decision::RollBack)];
    let produce = (0..SESSIONS, 0..PRODUCERS.len(), prop_oneof![3 => Just(false), 1 => Just(true)]);
    let end = (0usize..5, names(), proptest::collection::vec(decision(), 1..4));
    prop_oneof![
        1 => produce.prop_map(|(session, group, stops)| Act::Produce { session, group, stops }),
        2 => end.prop_map(|(back, names, decisions)| Act::EndHalf { back, names, decisions }),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let queue = prop_oneof![2 => Just(None), 1 => (0u32..3).prop_map(Some)];
    let wait_ms = prop_oneof![3 => Just(0u64), 1 => Just(10), 1 => Just(2_000)];
    prop_oneof![
        12 => (0..TOPICS.len(), queue, 1u8..5, any::<bool>(), sent())
            .prop_map(|(topic, queue, count, memory, sent)| Act::Publish { topic, queue, count, memory, sent }),
        14 => (key(), 0..SESSIONS, 1u8..6, lease_ms(), wait_ms)
            .prop_map(|(key, session, max, lease_ms, wait_ms)| Act::Receive { key, session, max, lease_ms, wait_ms }),
        20 => (any::<usize>(), 1u8..4, outcome())
            .prop_map(|(which, count, outcome)| Act::Settle { which, count, outcome }),
        4 => (0usize..20, outcome()).prop_map(|(back, outcome)| Act::SettleAny { back, outcome }),
        3 => (any::<usize>(), lease_ms()).prop_map(|(which, lease_ms)| Act::Extend { which, lease_ms }),
        12 => prop_oneof![Just(1u64), 1u64..100, 100u64..1_000, 1_000u64..4_000].prop_map(Act::PassMs),
        1 => prop_oneof![Just(-HOUR_MS), Just(HOUR_MS)].prop_map(|ms| Act::Jump { ms }),
        3 => (0usize..12, names()).prop_map(|(back, names)| Act::Recall { back, names }),
        6 => half(),
        3 => lock(),
        4 => (key(), 0..SESSIONS, any::<bool>()).prop_map(|(key, session, no_ack)| Act::Get { key, session, no_ack }),
        7 => consume(),
        5 => (any::<usize>(), 1u8..6).prop_map(|(which, add)| Act::Credit { which, add }),
        2 => any::<usize>().prop_map(|which| Act::Cancel { which }),
        1 => (0..SESSIONS).prop_map(|session| Act::Disconnect { session }),
        1 => key().prop_map(|key| Act::Purge { key }),
        3 => (key(), to()).prop_map(|(key, to)| Act::Seek { key, to }),
        2 => (key(), 0u32..3, 0u64..40).prop_map(|(key, queue, offset)| Act::Commit { key, queue, offset }),
        1 => Just(Act::Checkpoint),
        1 => any::<bool>().prop_map(|loses_store| Act::Kill { loses_store }),
        2 => Just(Act::StopSyncing),
        1 => any::<bool>().prop_map(|loses_store| Act::PowerCut { loses_store }),
    ]
}
