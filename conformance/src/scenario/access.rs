//! Users: who is let in, with what, and what each may do; and TLS. On brokers of their own, since the others have no users.

use std::path::Path;
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};

use crate::broker::{Against, Broker};
use crate::driver::{Consume, Driver};
use crate::line::Outgoing;
use crate::sdk::{Protocol, Sdk};
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::{Case, possible, queues_for};

const ROOT: (&str, &str) = ("root", "root-secret");
const ANN: (&str, &str) = ("ann", "swordfish");
/// For what must not arrive; what does takes a fraction of it.
const SILENCE: Duration = Duration::from_secs(3);

pub fn cases(sdks: &[Sdk]) -> Vec<Case> {
    let logs_in = |sdk: &&Sdk| {
        matches!(sdk, Sdk::JavaRocketmq | Sdk::GoRocketmq | Sdk::Pika | Sdk::Amqp091Go | Sdk::Curl)
    };
    let users = sdks.iter().filter(logs_in).map(|&sdk| {
        Case::new("user does what its rules allow", sdk, move |world| run(world, sdk, allowed_and_denied))
    });
    let secured = sdks
        .iter()
        .filter(logs_in)
        .map(|&sdk| Case::new("speaks TLS", sdk, move |world| run(world, sdk, over_tls)));
    users.chain(secured).collect()
}

fn run(
    world: &mut World,
    sdk: Sdk,
    scenario: fn(&mut World, Sdk, &Path) -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    if world.against() != Against::Mailrail {
        return Ok(Outcome::Cannot("the peers' users are kept in their own ways".into()));
    }
    let folder = world.name(&format!("access-{sdk}"));
    let folder = world.folder().join(folder);
    std::fs::create_dir_all(&folder).map_err(Failure::io(format!("creating {}", folder.display())))?;
    possible(scenario(world, sdk, &folder))
}

fn write(path: &Path, text: &str) -> Result<String, Failure> {
    std::fs::write(path, text).map_err(Failure::io(format!("writing {}", path.display())))?;
    Ok(path.display().to_string())
}

fn arguments(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]).collect()
}

fn connected(world: &mut World, sdk: Sdk, broker: &Broker, fields: &Value) -> Result<Driver, Failure> {
    let mut endpoints = broker.endpoints().fields();
    for (key, value) in fields.as_object().into_iter().flatten() {
        endpoints[key] = value.clone();
    }
    let mut driver = world.unconnected(sdk)?;
    driver.connect(&endpoints)?;
    Ok(driver)
}

fn as_user((user, secret): (&str, &str)) -> Value {
    json!({"user": user, "secret": secret})
}

/// How a client's words tell that it was kept out.
fn tells_denial(sdk: Sdk, text: &str) -> bool {
    match sdk.protocol() {
        // It opens its channel again at once, and tells of a publish that was not confirmed.
        Protocol::Amqp if sdk == Sdk::Amqp091Go && text.contains("nack") => true,
        Protocol::Http => text.contains("HTTP 403") && text.contains("access-denied"),
        Protocol::Amqp => text.contains("403") && text.contains("ACCESS_REFUSED"),
        Protocol::Remoting => text.contains("may not"),
    }
}

fn allowed_and_denied(world: &mut World, sdk: Sdk, folder: &Path) -> Result<(), Failure> {
    let root_file = write(&folder.join("root"), ROOT.1)?;
    let ann_file = write(&folder.join("ann"), ANN.1)?;
    let start = [("admin-user", ROOT.0), ("admin-password-file", root_file.as_str())];
    let mut broker = Broker::start_with(folder, &arguments(&start))?;
    let as_root = ["--user", ROOT.0, "--password-file", root_file.as_str()];
    let user = |broker: &Broker, command: &[&str]| broker.user(&[command, &as_root].concat());
    let secrets = ["--new-password-file", ann_file.as_str(), "--signing-secret-file", ann_file.as_str()];
    user(&broker, &[&["add", ANN.0][..], &secrets].concat())?;
    let may = ["permit", ANN.0, "--actions", "publish,consume,configure", "--on", "topic,group"];
    user(&broker, &[&may[..], &["--prefix", "allowed"]].concat())?;
    // Topics of both kinds, which an administrator makes.
    let maker = if sdk.protocol() == Protocol::Amqp { sdk } else { Sdk::Curl };
    let mut root = connected(world, maker, &broker, &as_user(ROOT))?;
    for topic in ["allowed", "closed"] {
        root.create_topic(topic, queues_for(sdk))?;
    }
    world.done(root);

    let mut ann = connected(world, sdk, &broker, &as_user(ANN))?;
    ann.send("allowed", "sync", &[Outgoing::text("let in")])?;
    ann.consume(&Consume::new("c", "allowed", "allowed-group"))?;
    let deadline = Instant::now() + DELIVERY_MAX;
    let mut seen = Vec::new();
    while seen.is_empty() {
        require!(Instant::now() < deadline, "what it may consume did not arrive");
        ann.poll(SILENCE)?;
        seen.extend(ann.take_arrived("c").iter().map(|message| message.text()));
    }
    require!(seen == ["let in"], "it got {seen:?}");
    match ann.send("closed", "sync", &[Outgoing::text("kept out")]) {
        Ok(_) => return Err(Failure::Wrong("it sent to a topic that it may not".into())),
        Err(failure) if tells_denial(sdk, &failure.to_string()) => {}
        Err(failure) => return Err(Failure::Wrong(format!("it is not told why: {failure}"))),
    }
    denied_consumption(sdk, &mut ann)?;
    world.done(ann);

    for who in [(ANN.0, "wrong"), ("nobody", ANN.1)] {
        let mut stranger = connected(world, sdk, &broker, &as_user(who))?;
        let sent = stranger.send("allowed", "sync", &[Outgoing::text("stranger")]);
        require!(sent.is_err(), "{} with {} sent a message", who.0, who.1);
        world.done(stranger);
    }
    broker.stop()
}

/// A group, or a queue, that it may not consume: it is refused at once, or gets nothing.
fn denied_consumption(sdk: Sdk, ann: &mut Driver) -> Result<(), Failure> {
    let (topic, group) =
        if sdk.protocol() == Protocol::Amqp { ("closed", "closed") } else { ("allowed", "closed-group") };
    if let Err(failure) = ann.consume(&Consume::new("d", topic, group)) {
        require!(
            sdk.protocol() == Protocol::Remoting || tells_denial(sdk, &failure.to_string()),
            "it is not told why: {failure}"
        );
        return Ok(());
    }
    let deadline = Instant::now() + SILENCE;
    while Instant::now() < deadline {
        ann.poll(SILENCE / 10)?;
        let seen: Vec<String> = ann.take_arrived("d").iter().map(|message| message.text()).collect();
        require!(seen.is_empty(), "it got {seen:?} with a group that it may not use");
    }
    Ok(())
}

fn over_tls(world: &mut World, sdk: Sdk, folder: &Path) -> Result<(), Failure> {
    let made = generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]);
    let CertifiedKey { cert, signing_key } =
        made.map_err(|error| Failure::Environment(format!("no certificate: {error}")))?;
    let certificate = write(&folder.join("certificate.pem"), &cert.pem())?;
    let key = write(&folder.join("key.pem"), &signing_key.serialize_pem())?;
    let start = [
        ("tls-certificate-file", certificate.as_str()),
        ("tls-key-file", key.as_str()),
        ("tls-mode", "enforcing"),
    ];
    let mut broker = Broker::start_with(folder, &arguments(&start))?;
    let mut driver = connected(world, sdk, &broker, &json!({"tls": certificate}))?;
    if sdk.protocol() == Protocol::Remoting {
        let mut curl = connected(world, Sdk::Curl, &broker, &json!({"tls": certificate}))?;
        curl.create_topic("secured", queues_for(sdk))?;
        world.done(curl);
    } else {
        driver.create_topic("secured", queues_for(sdk))?;
    }
    // Longer than what TLS puts into one record, and than what a socket takes at once.
    let bodies: Vec<String> = (0..8).map(|number| format!("{number} {}", "x".repeat(400_000))).collect();
    for body in &bodies {
        driver.send("secured", "sync", &[Outgoing::text(body)])?;
    }
    driver.consume(&Consume::new("c", "secured", "secured-group"))?;
    let deadline = Instant::now() + DELIVERY_MAX;
    let mut seen = Vec::new();
    while seen.len() < bodies.len() {
        require!(Instant::now() < deadline, "{} of {} messages arrived", seen.len(), bodies.len());
        driver.poll(SILENCE)?;
        seen.extend(driver.take_arrived("c").iter().map(|message| message.text()));
    }
    seen.sort();
    require!(seen == bodies, "what arrived is not what was sent");
    let mut plain = connected(world, sdk, &broker, &json!({}))?;
    let sent = plain.send("secured", "sync", &[Outgoing::text("plain")]);
    require!(sent.is_err(), "a plain connection was served");
    world.done(plain);
    world.done(driver);
    broker.stop()
}
