//! A message that waits for its time is withdrawn before it: it never comes, those around it do, and none comes early.

use std::time::{Duration, Instant};

use crate::driver::Consume;
use crate::line::{Arrived, Outgoing};
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::{Case, possible};

/// When the first is due; the others are, one step after another.
const STEP: Duration = Duration::from_secs(2);

pub fn cases(sdks: &[Sdk]) -> Vec<Case> {
    let can = |sdk: &&Sdk| matches!(sdk, Sdk::JavaRocketmq | Sdk::JavaRocketmq4 | Sdk::GoRocketmq);
    let case = |&sdk: &Sdk| Case::new("waiting message is recalled", sdk, move |world| run(world, sdk));
    sdks.iter().filter(can).map(case).collect()
}

fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    if sdk == Sdk::GoRocketmq {
        return Ok(Outcome::Cannot("the Go client v2.1.2 has no call for it".into()));
    }
    possible(scenario(world, sdk))
}

fn scenario(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let topic = world.name("recall");
    world.make_topic(&topic, 4, &[sdk])?;
    let mut driver = world.driver(sdk)?;
    let group = world.name("g");
    driver.consume(&Consume::new("c", &topic, &group))?;
    let sent = Instant::now();
    let late = |text: &str, steps: u32| {
        let delay_ms = u64::try_from((STEP * steps).as_millis()).ok();
        Outgoing { delay_ms, ..Outgoing::text(text) }
    };
    let messages = [late("first", 1), late("recalled", 2), late("last", 3)];
    let receipts = driver.send(&topic, "sync", &messages)?;
    let handles: Vec<String> = receipts.into_iter().filter_map(|receipt| receipt.recall).collect();
    require!(
        handles.len() == messages.len(),
        "of {} messages {} can be recalled",
        messages.len(),
        handles.len()
    );
    driver.recall(&topic, &handles[1])?;
    let again = driver.recall(&topic, &handles[1]);
    require!(matches!(again, Err(Failure::Refused { .. })), "a second recall gave {again:?}");
    let mut got = driver.receive("c", 1, DELIVERY_MAX)?;
    require!(
        sent.elapsed() >= STEP,
        "{:?} came after {:?} where {STEP:?} was due",
        got[0].text(),
        sent.elapsed()
    );
    let over = driver.recall(&topic, &handles[0]);
    require!(matches!(over, Err(Failure::Refused { .. })), "a recall of what has come gave {over:?}");
    if got.len() < 2 {
        got.extend(driver.receive("c", 2 - got.len(), DELIVERY_MAX)?);
    }
    driver.stop("c")?;
    got.extend(driver.take_arrived("c"));
    let texts: Vec<String> = got.iter().map(Arrived::text).collect();
    require!(texts == ["first", "last"], "came: {texts:?}");
    world.done(driver);
    Ok(())
}
