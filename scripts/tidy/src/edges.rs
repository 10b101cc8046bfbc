//! Which crate may depend on which, inside the workspace and outside. A crate's part is read from its folder, so that a
//! new protocol needs no change here: it is allowed what every protocol is.
//! Modules inside a crate are the import rules' matter, not this one's.
use crate::Violation;

/// A crate of the workspace, as far as the rules look at it.
#[derive(Clone, Debug, Default)]
pub struct Crate {
    pub name: String,
    /// From the top of the repository, without the manifest's name.
    pub folder: String,
    /// Folders of workspace crates it depends on in any way, tests included.
    pub inside: Vec<String>,
    /// Names of other crates that it needs to be built; those of its tests alone are not here.
    pub outside: Vec<String>,
}

/// What the crates of one part of the tree may use.
struct Part {
    /// A folder, or all below it when it ends in `/`.
    folder: &'static str,
    /// Folders, or all below one.
    may_use: &'static [&'static str],
    why: &'static str,
}

const PARTS: &[Part] = &[
    Part { folder: "storage/message", may_use: &[], why: "the message model stands on nothing of ours" },
    Part { folder: "storage/commitlog", may_use: &[], why: "the log knows records, not messages or topics" },
    Part {
        folder: "storage/broker",
        may_use: &["storage/message", "storage/commitlog"],
        why: "storage must not know any protocol, or the first protocol becomes the core",
    },
    Part {
        folder: "protocols/",
        may_use: &["storage/message", "storage/broker"],
        why: "a protocol translates to the broker; on another protocol it would make that one the core",
    },
    Part {
        folder: "gateway",
        may_use: &["protocols/", "storage/broker"],
        why: "the gateway binds listeners to protocols and decides nothing about messages",
    },
    Part {
        folder: "openapi",
        may_use: &["protocols/rest"],
        why: "the document is checked against what the REST code serves, and nothing else",
    },
    Part {
        folder: "conformance",
        may_use: &[],
        why: "it drives the built binary over sockets as a stranger would; our own types would hide our mistakes",
    },
    Part {
        folder: "scripts/load",
        may_use: &["protocols/remoting", "protocols/amqp"],
        why: "the load generator may share codecs, but must not share the broker it measures",
    },
    Part {
        folder: "scripts/storage-load",
        may_use: &["storage/message", "storage/broker"],
        why: "it measures the storage in process, as a protocol uses it",
    },
    Part { folder: "scripts/", may_use: &[], why: "scripts look at the product from outside" },
];

/// Crates from outside that a part must not be built with.
struct Ban {
    folder: &'static str,
    except: &'static str,
    crates: &'static [&'static str],
    why: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        folder: "storage/",
        except: "",
        crates: &[
            "async-std",
            "axum",
            "futures",
            "futures-util",
            "http",
            "hyper",
            "mio",
            "prost",
            "reqwest",
            "serde_json",
            "smol",
            "socket2",
            "tokio",
            "tonic",
            "tower",
            "tower-http",
            "utoipa",
        ],
        why: "storage is synchronous and speaks no wire format, so that it can be simulated and serves every protocol",
    },
    Ban {
        folder: "storage/",
        except: "storage/broker",
        crates: &["nom"],
        why: "only the expressions of filters are text to be parsed; everything else in storage has a layout",
    },
    Ban {
        folder: "",
        except: "storage/broker",
        crates: &["redb", "sled"],
        why: "the engines hold checkpoints of the broker's state behind one trait; anywhere else they could not be replaced",
    },
];

/// Checks every dependency of every crate.
pub fn check_edges(crates: &[Crate]) -> Vec<Violation> {
    crates.iter().flat_map(|one| inside_edges(one).into_iter().chain(outside_edges(one))).collect()
}

fn inside_edges(one: &Crate) -> Vec<Violation> {
    let Some(part) = PARTS.iter().find(|part| is_in(&one.folder, part.folder)) else {
        let what = format!("crate {} lies in no part of the tree that has a rule", one.name);
        return vec![violation(one, what, "a new part must say here what it may use")];
    };
    one.inside
        .iter()
        // A crate names itself to turn on a feature for its own tests; that is no edge.
        .filter(|used| **used != one.folder && !part.may_use.iter().any(|folder| is_in(used, folder)))
        .map(|used| violation(one, format!("{} depends on {used}", one.name), part.why))
        .collect()
}

fn outside_edges(one: &Crate) -> Vec<Violation> {
    BANS.iter()
        .filter(|ban| (ban.folder.is_empty() || is_in(&one.folder, ban.folder)) && one.folder != ban.except)
        .flat_map(|ban| {
            let used = one.outside.iter().filter(|used| ban.crates.contains(&used.as_str()));
            used.map(|used| violation(one, format!("{} depends on crate {used}", one.name), ban.why))
        })
        .collect()
}

fn violation(one: &Crate, what: String, why: &'static str) -> Violation {
    Violation { path: format!("{}/Cargo.toml", one.folder), line: 1, what, why }
}

/// `rule` is a folder itself, or everything below it when it ends in `/`.
fn is_in(folder: &str, rule: &str) -> bool {
    if rule.ends_with('/') { folder.starts_with(rule) } else { folder == rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(folder: &str, inside: &[&str], outside: &[&str]) -> Vec<String> {
        let one = Crate {
            name: "x".to_owned(),
            folder: folder.to_owned(),
            inside: inside.iter().map(ToString::to_string).collect(),
            outside: outside.iter().map(ToString::to_string).collect(),
        };
        check_edges(&[one]).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn allowed_edges_pass() {
        assert!(
            edges("storage/broker", &["storage/message", "storage/commitlog"], &["sled", "redb", "bytes"])
                .is_empty()
        );
        assert!(edges("protocols/mqtt", &["storage/message", "storage/broker"], &["tokio"]).is_empty());
        assert!(
            edges("gateway", &["protocols/rest", "protocols/mqtt", "storage/broker"], &["axum"]).is_empty()
        );
        assert!(edges("openapi", &["protocols/rest"], &[]).is_empty());
        assert!(edges("storage/commitlog", &["storage/commitlog"], &[]).is_empty());
        assert!(edges("scripts/load", &["protocols/amqp"], &["tokio"]).is_empty());
    }

    #[test]
    fn forbidden_edges_inside_the_workspace_fail() {
        for (folder, used) in [
            ("storage/commitlog", "storage/message"),
            ("storage/message", "storage/broker"),
            ("storage/broker", "protocols/remoting"),
            ("protocols/amqp", "protocols/remoting"),
            ("protocols/rest", "storage/commitlog"),
            ("gateway", "storage/message"),
            ("openapi", "storage/broker"),
            ("conformance", "storage/message"),
            ("scripts/load", "storage/broker"),
            ("scripts/tidy", "gateway"),
        ] {
            assert_eq!(edges(folder, &[used], &[]), [format!("x depends on {used}")], "{folder}");
        }
    }

    #[test]
    fn forbidden_crates_from_outside_fail() {
        for (folder, used) in [
            ("storage/broker", "tokio"),
            ("storage/broker", "serde_json"),
            ("storage/commitlog", "axum"),
            ("storage/commitlog", "sled"),
            ("protocols/rest", "sled"),
            ("gateway", "sled"),
            ("gateway", "redb"),
        ] {
            assert_eq!(edges(folder, &[], &[used]), [format!("x depends on crate {used}")], "{folder}");
        }
    }

    #[test]
    fn a_part_without_a_rule_fails() {
        assert_eq!(edges("console", &[], &[]).len(), 1);
    }
}
