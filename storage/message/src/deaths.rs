//! The history of a message that was given up: in which queues, why, how often, and where it was sent then. Stored as an
//! annex; every protocol shows it in its own form. It decides nothing.
//!
//! Layout (little-endian, texts as u16 length and UTF-8): exchange, key of the last way; u16 count of deaths, then for
//! each u8 reason, u8 1 for the first that ever happened, u64 count, u64 time of the first, queue, exchange, key, and
//! u8 1 and a text where an expiry was set, else u8 0.

/// Most different deaths (queue and reason) that are kept; of more, the oldest but the first are forgotten.
pub const DEATHS_MAX: usize = 64;

/// Why a message was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeathReason {
    /// A consumer refused it.
    Rejected,
    /// Its time to live was over.
    Expired,
    /// The queue was full.
    LengthLimit,
    /// It had failed as often as it may.
    DeliveryLimit,
}

impl DeathReason {
    pub const ALL: [DeathReason; 4] =
        [DeathReason::Rejected, DeathReason::Expired, DeathReason::LengthLimit, DeathReason::DeliveryLimit];

    /// The word that RabbitMQ made usual.
    pub fn name(self) -> &'static str {
        match self {
            DeathReason::Rejected => "rejected",
            DeathReason::Expired => "expired",
            DeathReason::LengthLimit => "maxlen",
            DeathReason::DeliveryLimit => "delivery_limit",
        }
    }

    fn number(self) -> u8 {
        match self {
            DeathReason::Rejected => 1,
            DeathReason::Expired => 2,
            DeathReason::LengthLimit => 3,
            DeathReason::DeliveryLimit => 4,
        }
    }

    fn from_number(number: u8) -> Option<DeathReason> {
        DeathReason::ALL.into_iter().find(|reason| reason.number() == number)
    }
}

/// All deaths of one queue for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    pub queue: String,
    pub reason: DeathReason,
    pub count: u64,
    /// When it first happened, in milliseconds of the Unix epoch.
    pub first_ms: u64,
    /// How the message had come to the queue: exchange (empty = by the queue's name) and routing key.
    pub exchange: String,
    pub key: String,
    /// The time to live that the message had of its own, in milliseconds as its sender wrote it.
    pub expiration: Option<String>,
    /// It was the first of all.
    pub is_first: bool,
}

/// The history of a message, and the way it took last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    /// Exchange (empty = by name) and key through which the last death sent it.
    pub exchange: String,
    pub key: String,
    /// The newest first.
    deaths: Vec<Death>,
}

impl Deaths {
    /// Reads an annex; `None` where it is damaged.
    pub fn read(bytes: &[u8]) -> Option<Deaths> {
        let mut rest = bytes;
        let (exchange, key) = (text(&mut rest)?, text(&mut rest)?);
        let count = u16::from_le_bytes(take(&mut rest)?);
        let deaths: Option<Vec<Death>> = (0..count).map(|_| death(&mut rest)).collect();
        Some(Deaths { exchange, key, deaths: deaths? }).filter(|_| rest.is_empty())
    }

    /// The annex.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        put_text(&mut out, &self.exchange);
        put_text(&mut out, &self.key);
        out.extend_from_slice(&u16::try_from(self.deaths.len()).unwrap_or(u16::MAX).to_le_bytes());
        for death in &self.deaths {
            out.extend_from_slice(&[death.reason.number(), u8::from(death.is_first)]);
            out.extend_from_slice(&death.count.to_le_bytes());
            out.extend_from_slice(&death.first_ms.to_le_bytes());
            for text in [&death.queue, &death.exchange, &death.key] {
                put_text(&mut out, text);
            }
            out.push(u8::from(death.expiration.is_some()));
            death.expiration.iter().for_each(|expiration| put_text(&mut out, expiration));
        }
        out
    }

    /// The deaths, the newest first.
    pub fn all(&self) -> &[Death] {
        &self.deaths
    }

    /// The very first death.
    pub fn first(&self) -> Option<&Death> {
        self.deaths.iter().find(|death| death.is_first)
    }

    /// Adds a death; one of the same queue and reason counts up and becomes the newest.
    pub fn add(&mut self, death: Death) {
        let same = |known: &Death| known.queue == death.queue && known.reason == death.reason;
        let known = self.deaths.iter().position(same).map(|at| self.deaths.remove(at));
        let newest = match known {
            Some(known) => Death { count: known.count.saturating_add(1), ..known },
            None => Death { count: 1, is_first: self.deaths.is_empty(), ..death },
        };
        self.deaths.insert(0, newest);
        while self.deaths.len() > DEATHS_MAX
            && let Some(oldest) = self.deaths.iter().rposition(|death| !death.is_first)
        {
            self.deaths.remove(oldest);
        }
    }

    /// True where the message has come back to a queue in which it died, and nobody rejected it since: sent there again
    /// it would go round for ever.
    pub fn cycles_to(&self, queue: &str) -> bool {
        let back = self.deaths.iter().position(|death| death.queue == queue);
        let since = back.and_then(|at| self.deaths.get(..=at));
        since.is_some_and(|since| since.iter().all(|death| death.reason != DeathReason::Rejected))
    }
}

fn death(rest: &mut &[u8]) -> Option<Death> {
    let [reason, is_first] = take(rest)?;
    let (count, first_ms) = (u64::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?));
    let (queue, exchange, key) = (text(rest)?, text(rest)?, text(rest)?);
    let [has_expiration] = take(rest)?;
    let expiration = if has_expiration == 0 { None } else { Some(text(rest)?) };
    let reason = DeathReason::from_number(reason)?;
    Some(Death { queue, reason, count, first_ms, exchange, key, expiration, is_first: is_first != 0 })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let len = usize::from(u16::from_le_bytes(take(rest)?));
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    String::from_utf8(head.to_vec()).ok()
}

/// What is longer than a length can say is cut; no name or key is.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = text.get(..text.floor_char_boundary(usize::from(u16::MAX))).unwrap_or(text);
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn died(queue: &str, reason: DeathReason) -> Death {
        Death {
            queue: queue.to_owned(),
            reason,
            count: 0,
            first_ms: 1_700_000_000_000,
            exchange: "x".to_owned(),
            key: "k".to_owned(),
            expiration: (reason == DeathReason::Expired).then(|| "60000".to_owned()),
            is_first: false,
        }
    }

    fn history(deaths: &[(&str, DeathReason)]) -> Deaths {
        let mut history = Deaths { exchange: "dlx".to_owned(), key: "é".to_owned(), ..Deaths::default() };
        deaths.iter().for_each(|(queue, reason)| history.add(died(queue, *reason)));
        history
    }

    #[test]
    fn one_queue_and_reason_is_one_death_that_counts_and_comes_first() {
        use DeathReason::*;
        let found = history(&[("a", Expired), ("b", Rejected), ("a", Rejected), ("a", Expired)]);
        let seen: Vec<_> = found.all().iter().map(|d| (d.queue.as_str(), d.reason, d.count)).collect();
        assert_eq!(seen, [("a", Expired, 2), ("a", Rejected, 1), ("b", Rejected, 1)]);
        assert_eq!(found.first().map(|d| (d.queue.as_str(), d.reason)), Some(("a", Expired)));
    }

    #[test]
    fn what_is_written_is_read_and_nothing_shorter() {
        let found = history(&[("a", DeathReason::Expired), ("b", DeathReason::DeliveryLimit)]);
        let bytes = found.to_bytes();
        assert_eq!(Deaths::read(&bytes), Some(found));
        for len in 0..bytes.len() {
            assert_eq!(Deaths::read(&bytes[..len]), None, "{len}");
        }
    }

    #[test]
    fn the_layout_stays() {
        let expected: &[&[u8]] = &[
            b"\x03\0dlx\x02\0\xc3\xa9\x01\0",
            b"\x02\x01\x01\0\0\0\0\0\0\0\x00\x68\xe5\xcf\x8b\x01\0\0",
            b"\x01\0a\x01\0x\x01\0k\x01\x05\x0060000",
        ];
        assert_eq!(history(&[("a", DeathReason::Expired)]).to_bytes(), expected.concat());
    }

    #[test]
    fn it_is_a_cycle_unless_somebody_rejected_it_on_the_way() {
        use DeathReason::*;
        type Case<'a> = (&'a [(&'a str, DeathReason)], &'a str, bool);
        let cases: &[Case<'_>] = &[
            (&[("a", Expired)], "a", true),
            (&[("a", Expired)], "b", false),
            (&[("a", Expired), ("b", LengthLimit)], "a", true),
            (&[("a", Expired), ("b", Rejected)], "a", false),
            (&[("a", Rejected), ("b", Expired)], "a", false),
            (&[("a", Rejected), ("b", Expired)], "b", true),
        ];
        for (deaths, queue, expected) in cases {
            assert_eq!(history(deaths).cycles_to(queue), *expected, "{deaths:?} {queue}");
        }
    }

    #[test]
    fn a_long_history_forgets_the_oldest_but_the_first() {
        let names: Vec<String> = (0..DEATHS_MAX + 3).map(|number| format!("q{number}")).collect();
        let deaths: Vec<_> = names.iter().map(|name| (name.as_str(), DeathReason::Expired)).collect();
        let found = history(&deaths);
        assert_eq!(found.all().len(), DEATHS_MAX);
        assert_eq!(found.first().map(|death| death.queue.as_str()), Some("q0"));
        assert!(!found.cycles_to("q1") && found.cycles_to("q4"));
    }
}
