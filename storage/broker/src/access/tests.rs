//! Decisions by tables and against a slow obvious model, secrets, and limits at both sides.

use std::net::IpAddr;

use proptest::prelude::*;

use super::login::Claim;
use super::*;
use crate::error::Error;
use crate::limits::*;

const HOME: &str = "10.1.2.3";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn rule(effect: Effect, actions: &[Action], kinds: &[ResourceKind], names: Pattern) -> Rule {
    Rule {
        effect,
        actions: actions.to_vec(),
        resources: kinds.to_vec(),
        names,
        routing_keys: None,
        sources: Vec::new(),
    }
}

fn allow(action: Action, kind: ResourceKind, names: Pattern) -> Rule {
    rule(Effect::Allow, &[action], &[kind], names)
}

fn literal(name: &str) -> Pattern {
    Pattern::Literal(name.to_owned())
}

fn prefix(name: &str) -> Pattern {
    Pattern::Prefix(name.to_owned())
}

fn regex(name: &str) -> Pattern {
    Pattern::Regex(name.to_owned())
}

fn with(name: &str, settings: UserSettings) -> Access {
    let access = Access::default();
    access.put(Arc::new(User::new(UserId(1), name.into(), settings)));
    access
}

fn of_rules(rules: Vec<Rule>) -> Access {
    with("ann", UserSettings { rules, ..UserSettings::default() })
}

fn ann(from: &str) -> Identity {
    Identity::user("ann".into(), ip(from))
}

/// What the rules say to ann, and why not.
fn ask(access: &Access, action: Action, resource: Resource<'_>, key: Option<&str>) -> Result<(), String> {
    access.check(&ann(HOME), action, resource, key).map_err(|denial| denial.to_string())
}

#[test]
fn names_are_taken_literally_by_prefix_or_by_pattern() {
    let cases = [
        (literal("orders"), "orders", true),
        (literal("orders"), "orders.eu", false),
        (literal(""), "orders", false),
        (prefix("orders"), "orders.eu", true),
        (prefix("orders"), "order", false),
        (prefix(""), "anything", true),
        (regex("^orders"), "orders.eu", true),
        (regex("^orders$"), "orders.eu", false),
        (regex("rder"), "orders", true),
        (regex(""), "orders", false),
        (regex(".*"), "", true),
        (regex("^(a|b)-\\d+$"), "b-17", true),
    ];
    for (names, name, expected) in cases {
        let access = of_rules(vec![allow(Action::Publish, ResourceKind::Topic, names.clone())]);
        let found = ask(&access, Action::Publish, Resource::topic(name), None).is_ok();
        assert_eq!(found, expected, "{names:?} on {name:?}");
    }
}

#[test]
fn a_rule_is_for_its_actions_and_kinds_and_anything_shows() {
    let access = of_rules(vec![allow(Action::Consume, ResourceKind::Topic, literal("t"))]);
    let may = |action, resource| ask(&access, action, resource, None).is_ok();
    assert!(may(Action::Consume, Resource::topic("t")));
    assert!(may(Action::Describe, Resource::topic("t")), "who may consume it may see it");
    assert!(!may(Action::Publish, Resource::topic("t")));
    assert!(!may(Action::Consume, Resource::group("t")));
    assert!(!may(Action::Describe, Resource::topic("other")));
    assert!(!may(Action::Administer, Resource::CLUSTER));
}

#[test]
fn a_denial_beats_what_allows_and_names_its_rule() {
    let access = of_rules(vec![
        allow(Action::Publish, ResourceKind::Topic, prefix("")),
        rule(Effect::Deny, &[Action::Publish], &[ResourceKind::Topic], prefix("secret")),
    ]);
    assert!(ask(&access, Action::Publish, Resource::topic("open"), None).is_ok());
    assert_eq!(
        ask(&access, Action::Publish, Resource::topic("secret.x"), None).unwrap_err(),
        "access denied: user \"ann\" may not publish to topic \"secret.x\": rule 2 is to deny publish on topic \
         \"secret\"..."
    );
    assert_eq!(
        ask(&access, Action::Consume, Resource::topic("open"), None).unwrap_err(),
        "access denied: user \"ann\" may not consume topic \"open\": no rule allows it"
    );
    assert!(
        ask(&access, Action::Describe, Resource::topic("secret.x"), None).is_ok(),
        "it is only hidden from writes"
    );
}

#[test]
fn who_is_nobody_disabled_or_gone_may_nothing_and_an_administrator_everything() {
    let open = Access::default();
    let nobody = Identity::anonymous(ip(HOME));
    let check = |access: &Access, identity: &Identity| {
        access.check(identity, Action::Administer, Resource::CLUSTER, None).map_err(|denial| denial.why)
    };
    assert_eq!(check(&open, &nobody), Ok(()), "without users everybody may do everything");
    let admin = UserSettings { admin: true, ..UserSettings::default() };
    let access = with("ann", admin.clone());
    assert_eq!(check(&access, &nobody), Err("log in first".to_owned()));
    assert_eq!(check(&access, &ann(HOME)), Ok(()));
    assert_eq!(check(&access, &Identity::broker()), Ok(()));
    let stranger = Identity::user("ben".into(), ip(HOME));
    assert_eq!(check(&access, &stranger), Err("the user is no more".to_owned()));
    let disabled = with("ann", UserSettings { enabled: false, ..admin });
    assert_eq!(check(&disabled, &ann(HOME)), Err("the user is disabled".to_owned()));
}

#[test]
fn topics_that_belong_to_a_group_are_the_group_s() {
    let access = of_rules(vec![allow(Action::Consume, ResourceKind::Group, literal("g"))]);
    for action in [Action::Publish, Action::Consume, Action::Configure, Action::Describe] {
        assert!(ask(&access, action, Resource::topic("%RETRY%g"), None).is_ok(), "{action:?}");
        assert!(ask(&access, action, Resource::topic("%DLQ%g"), None).is_ok(), "{action:?}");
        assert!(ask(&access, action, Resource::topic("%RETRY%h"), None).is_err(), "{action:?}");
    }
}

#[test]
fn routing_keys_and_sources_narrow_a_rule() {
    let eu = Rule {
        routing_keys: Some("^eu\\.".to_owned()),
        ..allow(Action::Publish, ResourceKind::Exchange, literal("x"))
    };
    let access = of_rules(vec![eu]);
    let publish = |key| ask(&access, Action::Publish, Resource::exchange("x"), key).is_ok();
    assert!(publish(Some("eu.new")));
    assert!(!publish(Some("us.new")) && !publish(None));
    for (source, from, expected) in [
        ("10.1.2.3", HOME, true),
        ("10.1.2.4", HOME, false),
        ("10.0.0.0/8", HOME, true),
        ("10.1.2.2/31", HOME, true),
        ("11.0.0.0/8", HOME, false),
        ("0.0.0.0/0", HOME, true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", HOME, true),
        ("2001:db8::/32", "2001:db8:1::7", true),
        ("2001:db8::/32", "2001:db9::7", false),
    ] {
        let sources = vec![source.to_owned()];
        let rule = Rule { sources, ..allow(Action::Publish, ResourceKind::Topic, literal("t")) };
        let access = of_rules(vec![rule]);
        let found = access.check(&ann(from), Action::Publish, Resource::topic("t"), None).is_ok();
        assert_eq!(found, expected, "{source} from {from}");
    }
}

#[test]
fn what_was_decided_is_worth_nothing_after_a_change() {
    let access = of_rules(vec![allow(Action::Publish, ResourceKind::Topic, literal("t"))]);
    let ann = ann(HOME);
    let may = || access.check(&ann, Action::Publish, Resource::topic("t"), None).is_ok();
    assert!(may() && may());
    assert_eq!(ann.remembered(), 1);
    access.put(Arc::new(User::new(UserId(1), "ann".into(), UserSettings::default())));
    assert!(!may());
    access.remove(UserId(1));
    assert!(access.is_open());
}

#[test]
fn decisions_are_remembered_up_to_a_limit() {
    let access = of_rules(vec![allow(Action::Publish, ResourceKind::Topic, prefix(""))]);
    let ann = ann(HOME);
    let ask = |number: usize| access.check(&ann, Action::Publish, Resource::topic(&number.to_string()), None);
    (0..DECISIONS_REMEMBERED_MAX).for_each(|number| assert!(ask(number).is_ok()));
    assert_eq!(ann.remembered(), DECISIONS_REMEMBERED_MAX);
    assert!(ask(DECISIONS_REMEMBERED_MAX).is_ok());
    assert_eq!(ann.remembered(), 1, "all were forgotten");
}

fn checked_rules(rules: Vec<Rule>) -> Result<(), Error> {
    checked(&UserSettings { rules, ..UserSettings::default() })
}

#[test]
fn rules_have_limits() {
    let any = || allow(Action::Publish, ResourceKind::Topic, prefix(""));
    let is_limit = |result| matches!(result, Err(Error::Limit { .. }));
    assert_eq!(checked_rules(vec![any(); USER_RULES_MAX]), Ok(()));
    assert!(is_limit(checked_rules(vec![any(); USER_RULES_MAX + 1])));
    for pattern in [literal, prefix, regex] {
        let long = |bytes| checked_rules(vec![Rule { names: pattern(&"a".repeat(bytes)), ..any() }]);
        assert_eq!(long(RULE_PATTERN_BYTES_MAX), Ok(()));
        assert!(is_limit(long(RULE_PATTERN_BYTES_MAX + 1)));
    }
    let keys = |bytes| checked_rules(vec![Rule { routing_keys: Some("a".repeat(bytes)), ..any() }]);
    assert_eq!(keys(RULE_PATTERN_BYTES_MAX), Ok(()));
    assert!(is_limit(keys(RULE_PATTERN_BYTES_MAX + 1)));
    let sources = |count| checked_rules(vec![Rule { sources: vec![HOME.to_owned(); count], ..any() }]);
    assert_eq!(sources(RULE_SOURCES_MAX), Ok(()));
    assert!(is_limit(sources(RULE_SOURCES_MAX + 1)));
    let fits =
        |count: &usize| checked_rules(vec![Rule { names: regex(&format!("a{{{count}}}")), ..any() }]).is_ok();
    let most = (1..).step_by(100).take_while(fits).last().unwrap();
    let next = format!("a{{{}}}", most + 100);
    let larger = regex::RegexBuilder::new(&next).size_limit(2 * RULE_REGEX_BYTES_MAX).build();
    assert!(larger.is_ok(), "nothing but the limit was in the way");
    let wrong = [
        Rule { names: regex("("), ..any() },
        // Short, and huge when compiled.
        Rule { names: regex("(((a{100}){100}){100})"), ..any() },
        Rule { names: regex("(?=a)b"), ..any() },
        Rule { actions: Vec::new(), ..any() },
        Rule { resources: Vec::new(), ..any() },
        Rule { sources: vec!["10.0.0.0/33".to_owned()], ..any() },
        Rule { sources: vec!["nowhere".repeat(RULE_SOURCE_BYTES_SHOWN_MAX)], ..any() },
    ];
    for rule in wrong {
        assert!(matches!(checked_rules(vec![rule.clone()]), Err(Error::Argument { .. })), "{rule:?}");
    }
}

#[test]
fn a_rule_that_cannot_be_read_denies_all_or_allows_nothing() {
    let broken = |effect| rule(effect, &[Action::Publish], &[ResourceKind::Topic], regex("("));
    let other = allow(Action::Consume, ResourceKind::Topic, literal("t"));
    let may = |rules| ask(&of_rules(rules), Action::Consume, Resource::topic("t"), None).is_ok();
    assert!(may(vec![broken(Effect::Allow), other.clone()]));
    assert!(!may(vec![broken(Effect::Deny), other]));
}

#[test]
fn a_password_is_stored_as_a_hash_that_only_it_fits() {
    let hash = PasswordHash::of("correct horse").unwrap();
    assert!(hash.verify("correct horse"));
    assert!(!hash.verify("correct horsf") && !hash.verify(""));
    let again = PasswordHash::of("correct horse").unwrap();
    assert_ne!(hash, again, "each has its own salt");
    let stored = postcard::to_stdvec(&hash).unwrap();
    assert!(!stored.windows(7).any(|window| window == b"correct"));
    assert_eq!(hash.iterations(), PasswordHash::decoy().iterations(), "as much work where there is none");
    assert!(PasswordHash::of(&"p".repeat(PASSWORD_BYTES_MAX)).is_ok());
    assert!(matches!(PasswordHash::of(&"p".repeat(PASSWORD_BYTES_MAX + 1)), Err(Error::Limit { .. })));
    assert!(PasswordHash::of("").is_err());
}

#[test]
fn a_secret_opens_with_its_key_for_its_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.key");
    let key = SecretKeyFile::at(path.clone());
    let sealed = key.seal("ann", "open sesame").unwrap();
    assert!(!postcard::to_stdvec(&sealed).unwrap().windows(4).any(|window| window == b"open"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = SecretKeyFile::at(path.clone());
    assert_eq!(again.unseal("ann", &sealed).unwrap(), b"open sesame");
    assert!(again.unseal("ben", &sealed).is_err());
    let other = SecretKeyFile::at(folder.path().join("other.key"));
    assert!(matches!(other.unseal("ann", &sealed), Err(Error::SecretKey(_))), "it is not made for reading");
    other.seal("ann", "x").unwrap();
    assert!(matches!(other.unseal("ann", &sealed), Err(Error::SecretKey(_))));
    std::fs::write(&path, [0; 31]).unwrap();
    assert!(matches!(SecretKeyFile::at(path).seal("ann", "x"), Err(Error::SecretKey(_))));
    assert!(again.seal("ann", &"s".repeat(SIGNING_SECRET_BYTES_MAX)).is_ok());
    assert!(again.seal("ann", &"s".repeat(SIGNING_SECRET_BYTES_MAX + 1)).is_err());
}

fn log_in(logins: &Logins, access: &Access, name: &str, password: &str) -> Result<Option<String>, Error> {
    let (tell, told) = std::sync::mpsc::channel();
    let claim = Claim { name: name.into(), password: password.to_owned(), from: ip(HOME) };
    logins.check(access, claim, move |outcome| tell.send(outcome).unwrap());
    told.recv().unwrap().map(|identity| identity.name().map(str::to_owned))
}

#[test]
fn a_login_needs_the_password_of_an_enabled_user() {
    let logins = Logins::start().unwrap();
    let user = |enabled| {
        let password = Some(PasswordHash::of("right").unwrap());
        UserSettings { enabled, password, ..UserSettings::default() }
    };
    assert_eq!(
        log_in(&logins, &Access::default(), "ann", "any"),
        Ok(None),
        "nobody is anybody without users"
    );
    let access = with("ann", user(true));
    access.put(Arc::new(User::new(UserId(2), "no password".into(), UserSettings::default())));
    for _ in 0..2 {
        // The second time from memory.
        assert_eq!(log_in(&logins, &access, "ann", "right"), Ok(Some("ann".to_owned())));
        assert_eq!(log_in(&logins, &access, "ann", "wrong"), Err(Error::Login));
        assert_eq!(log_in(&logins, &access, "ben", "right"), Err(Error::Login));
        assert_eq!(log_in(&logins, &access, "no password", ""), Err(Error::Login));
    }
    access.put(Arc::new(User::new(UserId(1), "ann".into(), user(false))));
    assert_eq!(
        log_in(&logins, &access, "ann", "right"),
        Err(Error::Login),
        "what is remembered goes with a change"
    );
}

#[test]
fn so_many_logins_wait_and_no_more() {
    let logins = Logins::start().unwrap();
    let access = with("ann", UserSettings::default());
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let ask = |number: usize, tell: std::sync::mpsc::Sender<bool>| {
        let claim = Claim { name: "ann".into(), password: number.to_string(), from: ip(HOME) };
        logins.check(&access, claim, move |outcome| {
            tell.send(matches!(outcome, Err(Error::Busy { .. }))).unwrap()
        });
    };
    // One that is being answered for as long as the gate is shut.
    let (begin, begun) = std::sync::mpsc::channel();
    let first = Claim { name: "ann".into(), password: "first".to_owned(), from: ip(HOME) };
    logins.check(&access, first, move |_| {
        begin.send(()).unwrap();
        gate.recv().unwrap_err();
    });
    begun.recv().unwrap();
    (0..LOGINS_WAITING_MAX).for_each(|number| ask(number, tell.clone()));
    assert!(told.try_recv().is_err(), "all of them wait");
    ask(LOGINS_WAITING_MAX, tell.clone());
    assert_eq!(told.try_recv(), Ok(true));
    // Nobody waits for the others.
    std::mem::forget(told);
    std::mem::forget(go);
}

#[test]
fn the_list_of_changes_keeps_the_newest_and_bounds_its_texts() {
    let mut audit = Audit::default();
    let entry = |number| AuditEntry {
        number,
        at_ms: 0,
        who: String::new(),
        from: String::new(),
        what: String::new(),
        refused: None,
    };
    let max = u64::try_from(AUDIT_ENTRIES_MAX).unwrap();
    (1..=max).for_each(|number| audit.add(entry(number)));
    assert_eq!(audit.entries().next().unwrap().number, 1);
    audit.add(entry(max + 1));
    audit.add(entry(5));
    assert_eq!(
        audit.entries().map(|entry| entry.number).collect::<Vec<_>>(),
        (2..=max + 1).collect::<Vec<_>>()
    );
    assert_eq!(bounded("x".repeat(AUDIT_TEXT_BYTES_MAX)), "x".repeat(AUDIT_TEXT_BYTES_MAX));
    let long = bounded("\u{e4}".repeat(AUDIT_TEXT_BYTES_MAX));
    assert!(long.len() <= AUDIT_TEXT_BYTES_MAX && long.ends_with("..."));
}

// The model: each rule looked at in every way it may fail, written out, and without any memory.

fn model(rules: &[Rule], action: Action, resource: Resource<'_>, key: Option<&str>, from: IpAddr) -> bool {
    let fits = |rule: &Rule| {
        let names = match &rule.names {
            Pattern::Literal(name) => name == resource.name,
            Pattern::Prefix(prefix) => resource.name.starts_with(prefix.as_str()),
            Pattern::Regex(text) if text.is_empty() => resource.name.is_empty(),
            Pattern::Regex(text) => regex::Regex::new(text).unwrap().is_match(resource.name),
        };
        let keys = match (&rule.routing_keys, key) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(text), Some(key)) => regex::Regex::new(text).unwrap().is_match(key),
        };
        let sources = rule.sources.is_empty() || rule.sources.iter().any(|source| ip(source) == from);
        let seeing = action == Action::Describe && rule.effect == Effect::Allow;
        rule.resources.contains(&resource.kind)
            && names
            && sources
            && (seeing || (keys && rule.actions.contains(&action)))
    };
    let denies = rules.iter().any(|rule| rule.effect == Effect::Deny && fits(rule));
    let allows = rules.iter().any(|rule| rule.effect == Effect::Allow && fits(rule));
    allows && !denies
}

fn an_action() -> impl Strategy<Value = Action> {
    prop::sample::select(Action::NAMES.iter().map(|(_, action)| *action).collect::<Vec<_>>())
}

fn a_kind() -> impl Strategy<Value = ResourceKind> {
    prop::sample::select(ResourceKind::NAMES.iter().map(|(_, kind)| *kind).collect::<Vec<_>>())
}

fn a_rule() -> impl Strategy<Value = Rule> {
    let names = prop_oneof![
        "[ab]{0,3}".prop_map(Pattern::Literal),
        "[ab]{0,2}".prop_map(Pattern::Prefix),
        prop::sample::select(vec!["", "^a", "b$", "a*b", "^(a|bb)$"]).prop_map(regex),
    ];
    let keys = prop::option::of(prop::sample::select(vec!["^a", "b"]).prop_map(str::to_owned));
    let sources =
        prop::collection::vec(prop::sample::select(vec![HOME, "::1"]).prop_map(str::to_owned), 0..2);
    let effect = prop_oneof![3 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
    let sets = (prop::collection::vec(an_action(), 1..4), prop::collection::vec(a_kind(), 1..4));
    (effect, sets, names, keys, sources).prop_map(
        |(effect, (actions, resources), names, routing_keys, sources)| Rule {
            effect,
            actions,
            resources,
            names,
            routing_keys,
            sources,
        },
    )
}

proptest! {
    #[test]
    fn decisions_are_those_of_the_model(
        rules in prop::collection::vec(a_rule(), 0..6),
        asked in prop::collection::vec((an_action(), a_kind(), "[ab]{0,3}", prop::option::of("[ab]{0,2}")), 1..20),
        from in prop::sample::select(vec![HOME, "::1", "192.0.2.1"]),
    ) {
        let access = of_rules(rules.clone());
        let ann = ann(from);
        for (action, kind, name, key) in asked {
            let resource = Resource { kind, name: &name };
            // Only what is about a routing key is asked with one.
            let key = key.as_deref().filter(|_| kind == ResourceKind::Exchange);
            let found = access.check(&ann, action, resource, key);
            prop_assert_eq!(found.is_ok(), model(&rules, action, resource, key, ip(from)));
        }
    }
}
