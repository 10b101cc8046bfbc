//! What the modules inside a crate may not name: sockets, files, clocks, threads, the broker. Crate edges cannot say
//! this, since a codec and the adapter beside it are one crate. Paths are looked for in `use` items and in all other
//! tokens, macros included; what only tests compile is free.
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::Visit;

use crate::source::{attributes, is_test_only, lines};
use crate::{Source, Violation};

/// Paths that one part of the tree must not name.
struct Ban {
    applies: fn(&str) -> bool,
    paths: &'static [&'static str],
    why: &'static str,
}

/// Addresses are data; only what opens or moves bytes is banned.
const SOCKETS: &[&str] = &[
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::net::Shutdown",
    "std::os::unix::net",
    "tokio::net",
];
const CLOCKS: &[&str] =
    &["Instant::now", "SystemTime::now", "std::time::SystemTime", "std::time::UNIX_EPOCH"];
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "tokio",
    "mio",
    "socket2",
    "axum",
    "hyper",
    "rustix",
    "libc",
    "mailrail_broker",
];

const BANS: &[Ban] = &[
    Ban { applies: is_codec, paths: SOCKETS, why: WHY_CODEC },
    Ban { applies: is_codec, paths: CLOCKS, why: WHY_CODEC },
    Ban { applies: is_codec, paths: OUTSIDE, why: WHY_CODEC },
    Ban { applies: is_state_machine, paths: SOCKETS, why: WHY_MACHINE },
    Ban { applies: is_state_machine, paths: CLOCKS, why: WHY_MACHINE },
    Ban { applies: is_state_machine, paths: &["std::fs", "std::thread", "tokio"], why: WHY_MACHINE },
    Ban { applies: is_message, paths: SOCKETS, why: WHY_MESSAGE },
    Ban { applies: is_message, paths: CLOCKS, why: WHY_MESSAGE },
    Ban { applies: is_message, paths: &["std::fs", "std::thread", "std::time::Instant"], why: WHY_MESSAGE },
    Ban { applies: is_broker, paths: SOCKETS, why: WHY_BROKER },
    Ban { applies: is_broker, paths: CLOCKS, why: WHY_BROKER },
    Ban { applies: is_commitlog_but_disk, paths: &["std::fs", "rustix::fs"], why: WHY_DISK },
    Ban { applies: is_commitlog_but_disk, paths: SOCKETS, why: WHY_DISK },
];

const WHY_CODEC: &str =
    "a codec turns bytes into frames and back; without IO, clock and broker it can be tested on bytes";
const WHY_MACHINE: &str = "a connection takes bytes and `now` in and gives bytes and deadlines out, so that two of them can be joined in memory";
const WHY_MESSAGE: &str = "the message model is data and its layout; it does no IO";
const WHY_BROKER: &str = "the broker's state is a function of its log, and `now` is an argument: what reads a clock cannot be replayed";
const WHY_DISK: &str =
    "the disk module is the log's only door to files, so that a faulty disk can stand in for it";

pub fn is_codec(path: &str) -> bool {
    path.starts_with("protocols/") && (path.contains("/codec/") || path.ends_with("/codec.rs"))
}

/// REST is not among them: axum owns its connections.
fn is_state_machine(path: &str) -> bool {
    path.starts_with("protocols/") && !path.starts_with("protocols/rest/") && !is_codec(path)
}

fn is_message(path: &str) -> bool {
    path.starts_with("storage/message/")
}

/// Its store waits for files and is no part of the state that is replayed.
fn is_broker(path: &str) -> bool {
    path.starts_with("storage/broker/src/") && !path.starts_with("storage/broker/src/store/")
}

fn is_commitlog_but_disk(path: &str) -> bool {
    path.starts_with("storage/commitlog/src/")
        && !path.starts_with("storage/commitlog/src/disk/")
        && path != "storage/commitlog/src/disk.rs"
}

pub fn check(source: &Source) -> Vec<Violation> {
    let bans: Vec<_> = BANS.iter().filter(|ban| (ban.applies)(&source.path)).collect();
    if bans.is_empty() || source.is_test() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (line, path) in named_paths(source) {
        let broken = bans.iter().find(|ban| ban.paths.iter().any(|banned| names(&path, banned)));
        found.extend(broken.map(|ban| Violation {
            path: source.path.clone(),
            line,
            what: format!("names {path}"),
            why: ban.why,
        }));
    }
    found
}

/// Whether `path` is `banned`, lies below it, imports a whole module that holds it, or ends in it (`Instant::now`
/// after any prefix).
fn names(path: &str, banned: &str) -> bool {
    let below = |path: &str, top: &str| {
        path == top || path.strip_prefix(top).is_some_and(|rest| rest.starts_with("::"))
    };
    let whole = path.strip_suffix("::*").or_else(|| path.strip_suffix("::self")).unwrap_or(path);
    let is_whole = whole != path;
    below(whole, banned)
        || (is_whole && below(banned, whole))
        || path.strip_suffix(banned).is_some_and(|rest| rest.ends_with("::"))
}

/// Every path of two or more words outside test code, with its line.
pub fn named_paths(source: &Source) -> Vec<(usize, String)> {
    let mut paths = Paths { found: Vec::new() };
    for item in &source.file.items {
        paths.visit_item(item);
    }
    paths.found
}

struct Paths {
    found: Vec<(usize, String)>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_test_only(attributes(item)) {
            return;
        }
        match item {
            syn::Item::Use(item) => self.flatten(String::new(), &item.tree),
            syn::Item::Mod(syn::ItemMod { content: Some((_, items)), .. }) => {
                items.iter().for_each(|item| self.visit_item(item));
            }
            syn::Item::Impl(item) => self.tokens_but_tests(item),
            other => self.scan(tokens_of(other)),
        }
    }
}

impl Paths {
    /// `use a::{b, c::{self, d}}` names `a::b`, `a::c::self`, `a::c::d`.
    fn flatten(&mut self, prefix: String, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => self.flatten(format!("{prefix}{}::", path.ident), &path.tree),
            syn::UseTree::Name(name) => self.found.push((lines(name).0, format!("{prefix}{}", name.ident))),
            syn::UseTree::Rename(name) => self.found.push((lines(name).0, format!("{prefix}{}", name.ident))),
            syn::UseTree::Glob(glob) => self.found.push((lines(glob).0, format!("{prefix}*"))),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.flatten(prefix.clone(), tree));
            }
        }
    }

    /// Functions of an impl block may be for tests only, one by one.
    fn tokens_but_tests(&mut self, block: &syn::ItemImpl) {
        let mut block = block.clone();
        block.items.retain(|item| match item {
            syn::ImplItem::Fn(function) => !is_test_only(&function.attrs),
            _ => true,
        });
        self.scan(tokens_of(&syn::Item::Impl(block)));
    }

    /// Joins identifiers that follow each other with `::` between them.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path = String::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match &token {
                TokenTree::Ident(word) if colons == 2 && !path.is_empty() => {
                    path.push_str(&format!("::{word}"))
                }
                TokenTree::Ident(word) => {
                    self.end(&mut path, line);
                    path = word.to_string();
                    line = word.span().start().line;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.end(&mut path, line);
                    self.scan(group.stream());
                }
                _ => self.end(&mut path, line),
            }
            colons = 0;
        }
        self.end(&mut path, line);
    }

    fn end(&mut self, path: &mut String, line: usize) {
        let path = std::mem::take(path);
        if path.contains("::") {
            self.found.push((line, path));
        }
    }
}

fn tokens_of(item: &syn::Item) -> TokenStream {
    item.to_token_stream()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let source = Source::parse(path, text).expect("the test's own text is Rust");
        check(&source).into_iter().map(|violation| (violation.line, violation.what)).collect()
    }

    const CODEC: &str = "protocols/amqp/src/codec/frame.rs";

    #[test]
    fn a_codec_names_no_sockets_files_clocks_or_broker() {
        for (text, what) in [
            ("use std::net::TcpStream;", "std::net::TcpStream"),
            ("use std::{fmt, fs};", "std::fs"),
            ("use std::fs::{self, File};", "std::fs::self"),
            ("use std::net::*;", "std::net::*"),
            ("use std::time::Instant as Clock;", "std::time::Instant"),
            ("use tokio::sync::mpsc;", "tokio::sync::mpsc"),
            ("use mailrail_broker::Command;", "mailrail_broker::Command"),
            ("fn f() { let _ = std::fs::read(x); }", "std::fs::read"),
            ("fn f() { assert!(vec![std::time::SystemTime::now()]); }", "std::time::SystemTime::now"),
            ("struct S { at: std::time::Instant }", "std::time::Instant"),
        ] {
            assert!(
                found(CODEC, text)
                    .iter()
                    .any(|(line, found)| (*line, found.as_str()) == (1, &format!("names {what}"))),
                "{text}: {:?}",
                found(CODEC, text)
            );
        }
    }

    #[test]
    fn addresses_durations_and_tests_are_free() {
        assert_eq!(found(CODEC, "use std::net::{IpAddr, SocketAddr};\nuse std::time::Duration;"), []);
        assert_eq!(found(CODEC, "#[cfg(test)]\nmod tests { use std::fs; fn f() { std::fs::read(x); } }"), []);
        assert_eq!(found("protocols/amqp/src/codec/tests.rs", "use std::fs;"), []);
        assert_eq!(
            found("protocols/amqp/src/codec/a.rs", "impl T { #[cfg(test)] fn f() { std::fs::read(x); } }"),
            []
        );
    }

    #[test]
    fn the_line_is_that_of_the_import() {
        assert_eq!(
            found(CODEC, "//! Head.\n\nuse std::{\n    fmt,\n    fs,\n};"),
            [(5, "names std::fs".to_owned())]
        );
    }

    #[test]
    fn state_machines_and_the_broker_read_no_clock() {
        let text = "fn f() { let _ = Instant::now(); }";
        assert_eq!(found("protocols/remoting/src/connection/mod.rs", text).len(), 1);
        assert_eq!(found("storage/broker/src/queue.rs", text).len(), 1);
        assert_eq!(found("storage/broker/src/queue.rs", "fn f(now: std::time::Instant) {}"), []);
        assert_eq!(found("storage/broker/src/store/sled.rs", text), []);
        assert_eq!(found("gateway/src/driver.rs", text), []);
        assert_eq!(found("protocols/rest/src/receive.rs", text), []);
    }

    #[test]
    fn only_the_disk_module_opens_files() {
        let text = "use std::fs::File;";
        assert_eq!(found("storage/commitlog/src/writer.rs", text).len(), 1);
        assert_eq!(found("storage/commitlog/src/disk/os.rs", text), []);
        assert_eq!(found("storage/message/src/stored.rs", text).len(), 1);
    }
}
