//! Two members of a group share its messages, and when one dies the other gets all, also what the dead one had not settled.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::driver::{Consume, Driver};
use crate::line::{Arrived, Outgoing, Settled};
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::queues_for;

const BATCH: usize = 40;
const STEP: Duration = Duration::from_millis(20);
/// Short, so that a dead member's messages come back while the scenario waits.
const LEASE_MS: u64 = 4_000;
const NOTIFIED_TAKEOVER_MAX: Duration = Duration::from_secs(10);

/// Two members and a sender, until one is killed.
struct Trio {
    sender: Driver,
    a: Driver,
    b: Driver,
    topic: String,
    sent: usize,
    /// Deliveries by body, for each member.
    seen: [BTreeMap<String, Vec<Arrived>>; 2],
}

pub fn shares(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    shares_with(world, sdk, sdk)
}

/// Members of two SDKs in one group; they must come to the same division of the queues.
pub fn shares_with(world: &mut World, a: Sdk, b: Sdk) -> Result<Outcome, Failure> {
    let mut trio = Trio::start(world, a, b, "share", false)?;
    trio.until_both_receive()?;
    // A member that does not heed the broker's notice gives up its queues some seconds after the other took them.
    let patience = if a.heeds_notices() && b.heeds_notices() { Duration::ZERO } else { DELIVERY_MAX };
    let deadline = Instant::now() + patience;
    // Two batches in which both took part: the group has settled, so now every message comes once.
    while let Err(failure) = trio.divides_a_batch() {
        if Instant::now() >= deadline {
            return Err(failure);
        }
    }
    trio.end(world);
    Ok(Outcome::Pass)
}

pub fn takes_over(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    // Where a member can hold messages it does, so that it dies with some unsettled.
    let hold = sdk.cannot_hold().is_none();
    let mut trio = Trio::start(world, sdk, sdk, "over", hold)?;
    trio.until_both_receive()?;
    let held: Vec<String> = trio.seen[1]
        .values()
        .flatten()
        .filter(|message| message.outcome == Settled::Held)
        .map(Arrived::text)
        .collect();
    require!(!hold || !held.is_empty(), "the member that is to die holds nothing");
    trio.b.kill();
    let killed = Instant::now();
    let limit = takeover_max(sdk);
    let first = trio.send_batch()?;
    let missing = |trio: &Trio| -> Vec<String> {
        let all = held.iter().cloned().chain((first..first + BATCH).map(body));
        all.filter(|body| !trio.seen[0].contains_key(body)).collect()
    };
    while !missing(&trio).is_empty() {
        require!(
            killed.elapsed() < limit,
            "not delivered to the survivor within {limit:?}: {:?}",
            missing(&trio)
        );
        trio.read_a()?;
    }
    println!("{sdk}: taken over after {} ms", killed.elapsed().as_millis());
    for body in &held {
        let again = trio.seen[0].get(body).and_then(|times| times.first()).and_then(|m| m.redelivered);
        require!(again != Some(false), "{body} was held by the dead member but comes as not redelivered");
    }
    let Trio { sender, a, .. } = trio;
    world.done(sender);
    world.done(a);
    Ok(Outcome::Pass)
}

/// The Java client balances at once when the broker notifies it of a member that left; without that notice it would at its next
/// turn, up to 20 s later, and nobody would miss the notice.
fn takeover_max(sdk: Sdk) -> Duration {
    match sdk {
        Sdk::JavaRocketmq | Sdk::JavaRocketmq4 | Sdk::RocketmqSpring => NOTIFIED_TAKEOVER_MAX,
        _ => DELIVERY_MAX,
    }
}

fn body(number: usize) -> String {
    format!("message {number}")
}

impl Trio {
    fn start(world: &mut World, sdk: Sdk, other: Sdk, name: &str, b_holds: bool) -> Result<Self, Failure> {
        let topic = world.name(name);
        let group = world.name(name);
        world.make_topic(&topic, queues_for(sdk), &[sdk])?;
        let mut a = world.driver(sdk)?;
        let mut b = world.driver(other)?;
        let sender = world.driver(sdk)?;
        let member = Consume { prefetch: 5, lease_ms: LEASE_MS, ..Consume::new("c", &topic, &group) };
        a.consume(&member)?;
        b.consume(&Consume { hold: b_holds, ..member })?;
        Ok(Self { sender, a, b, topic, sent: 0, seen: Default::default() })
    }

    /// Sends the next batch; gives the number of its first message.
    fn send_batch(&mut self) -> Result<usize, Failure> {
        let first = self.sent;
        let messages: Vec<Outgoing> =
            (first..first + BATCH).map(|number| Outgoing::text(body(number))).collect();
        self.sender.send(&self.topic, "sync", &messages)?;
        self.sent += BATCH;
        Ok(first)
    }

    /// Batches until both members received something: a rebalance takes its time, and may deliver twice meanwhile.
    fn until_both_receive(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + DELIVERY_MAX;
        loop {
            let first = self.send_batch()?;
            while (first..first + BATCH).any(|n| self.seen.iter().all(|seen| !seen.contains_key(&body(n)))) {
                require!(Instant::now() < deadline, "a batch did not arrive within {DELIVERY_MAX:?}");
                self.read_both()?;
            }
            let took_part = |seen: &BTreeMap<String, Vec<Arrived>>| {
                (first..first + BATCH).any(|n| seen.contains_key(&body(n)))
            };
            if self.seen.iter().all(took_part) {
                return Ok(());
            }
            require!(Instant::now() < deadline, "one member gets everything, after {DELIVERY_MAX:?} still");
        }
    }

    /// One batch, of which each member gets a part and no message comes twice.
    fn divides_a_batch(&mut self) -> Result<(), Failure> {
        let first = self.send_batch()?;
        self.await_all(first, DELIVERY_MAX)?;
        let (mut a, mut b) = (0, 0);
        for number in first..first + BATCH {
            let body = body(number);
            let [in_a, in_b] = [0, 1].map(|member| self.seen[member].get(&body).map_or(0, Vec::len));
            require!(
                in_a + in_b == 1,
                "{body} was delivered {in_a} times to one member and {in_b} times to the other"
            );
            a += in_a;
            b += in_b;
        }
        require!(a > 0 && b > 0, "one member got all of a batch ({a} and {b})");
        Ok(())
    }

    fn await_all(&mut self, first: usize, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        while (first..first + BATCH).any(|n| self.seen.iter().all(|seen| !seen.contains_key(&body(n)))) {
            require!(Instant::now() < deadline, "a batch did not arrive within {limit:?}");
            self.read_both()?;
        }
        Ok(())
    }

    fn read_both(&mut self) -> Result<(), Failure> {
        self.read_a()?;
        self.b.poll(STEP)?;
        note(&mut self.seen[1], self.b.take_arrived("c"));
        Ok(())
    }

    fn read_a(&mut self) -> Result<(), Failure> {
        self.a.poll(STEP)?;
        note(&mut self.seen[0], self.a.take_arrived("c"));
        Ok(())
    }

    fn end(self, world: &mut World) {
        world.done(self.sender);
        world.done(self.a);
        world.done(self.b);
    }
}

fn note(seen: &mut BTreeMap<String, Vec<Arrived>>, arrived: Vec<Arrived>) {
    for message in arrived {
        seen.entry(message.text()).or_default().push(message);
    }
}
