//! A codec names nothing of its crate but codec: whatever lies beside it may use the broker, and would bring it along.
//! Who uses a protocol crate only to make load may name nothing of it but codec either. Test code is free.
use super::imports::{is_codec, named_paths};
use crate::{Source, Violation};

const LOAD_FOLDER: &str = "scripts/load/";
const PROTOCOL_CRATES: &str = "mailrail_";
const WHY_CODEC: &str = "what lies beside a codec may use the broker, so a codec that names it cannot be used or tested without one";
const WHY_LOAD: &str =
    "the load generator may share codecs; more of a protocol would bring in the broker that it measures";

pub fn check(source: &Source) -> Vec<Violation> {
    let (leaves, why): (fn(&Source, &str) -> bool, _) = if is_codec(&source.path) {
        (leaves_codec, WHY_CODEC)
    } else if source.path.starts_with(LOAD_FOLDER) {
        (is_more_than_codec, WHY_LOAD)
    } else {
        return Vec::new();
    };
    if source.is_test() {
        return Vec::new();
    }
    let broken = named_paths(source).into_iter().filter(|(_, path)| leaves(source, path));
    broken
        .map(|(line, path)| Violation { path: source.path.clone(), line, what: format!("names {path}"), why })
        .collect()
}

/// `crate::` must go on with `codec`, and `super::` must not climb out of it. A module written inside a file is counted
/// as that file's level; one that climbs further can name `crate::codec`.
fn leaves_codec(source: &Source, path: &str) -> bool {
    let words: Vec<&str> = path.split("::").collect();
    if words.first() == Some(&"crate") {
        return words.get(1) != Some(&"codec");
    }
    words.iter().take_while(|word| **word == "super").count() > levels_in_codec(&source.path)
}

/// How often a file may say `super` without leaving: 0 for the codec's own root.
fn levels_in_codec(path: &str) -> usize {
    let Some((_, inside)) = path.split_once("/codec/") else { return 0 };
    let levels = inside.split('/').count();
    if inside.ends_with("mod.rs") { levels - 1 } else { levels }
}

fn is_more_than_codec(_: &Source, path: &str) -> bool {
    let mut words = path.split("::");
    words.next().is_some_and(|first| first.starts_with(PROTOCOL_CRATES) && first != "mailrail_load")
        && words.next() != Some("codec")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let source = Source::parse(path, text).expect("the test's own text is Rust");
        check(&source).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn a_codec_names_nothing_beside_it() {
        for (path, text, what) in [
            ("codec/frame.rs", "use crate::connection::Connection;", "crate::connection::Connection"),
            ("codec/frame.rs", "use crate::{codec::table, handle};", "crate::handle"),
            ("codec/frame.rs", "use crate::*;", "crate::*"),
            ("codec/frame.rs", "fn f() { crate::handle::run(); }", "crate::handle::run"),
            ("codec/frame.rs", "use super::super::config::Limits;", "super::super::config::Limits"),
            ("codec/mod.rs", "use super::connection;", "super::connection"),
            ("codec.rs", "use super::connection;", "super::connection"),
            ("codec/header/mod.rs", "use super::super::names;", "super::super::names"),
            ("codec/header/json.rs", "use super::super::super::names;", "super::super::super::names"),
        ] {
            let path = format!("protocols/amqp/src/{path}");
            assert_eq!(found(&path, text), [format!("names {what}")], "{path}: {text}");
        }
    }

    #[test]
    fn a_codec_names_itself_other_crates_and_in_tests_anything() {
        for (path, text) in [
            ("protocols/amqp/src/codec/frame.rs", "use crate::codec::table;\nuse super::limits;"),
            ("protocols/amqp/src/codec/frame.rs", "use bytes::Bytes; use mailrail_message::MessageId;"),
            ("protocols/amqp/src/codec/header/json.rs", "use super::super::frame;"),
            ("protocols/amqp/src/codec/mod.rs", "mod frame; use self::frame::Frame;"),
            ("protocols/amqp/src/codec/frame.rs", "#[cfg(test)] mod tests { use crate::connection; }"),
            ("protocols/amqp/src/codec/frame.rs", "//! [`crate::connection`] decides that.\n"),
            ("protocols/amqp/src/connection/mod.rs", "use crate::handle;"),
        ] {
            assert_eq!(found(path, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn the_load_generator_names_nothing_of_a_protocol_but_its_codec() {
        let path = "scripts/load/src/amqp/frame.rs";
        for text in [
            "use mailrail_amqp::Connection;",
            "use mailrail_amqp as amqp;",
            "use mailrail_amqp::{codec::frame, AmqpConfig};",
            "use mailrail_remoting::*;",
            "fn f() { mailrail_remoting::Connection::new(); }",
        ] {
            assert_eq!(found(path, text).len(), 1, "{text}");
        }
        assert_eq!(found(path, "use mailrail_amqp::codec::{self, frame};\nuse crate::run;"), [""; 0]);
        assert_eq!(found("gateway/src/main.rs", "use mailrail_amqp::Connection;"), [""; 0]);
    }
}
