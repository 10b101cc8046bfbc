//! `scripts/install` keeps no driver whose build failed, however often it is asked for.
//!
//! Runs it with stand-ins for the tools and with a cache of its own, so nothing is fetched and no driver is built here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use mailrail_conformance::sdk::scripts;

/// Every tool that a builder calls; each ends well unless a case puts another in its place.
const TOOLS: [&str; 10] =
    ["java", "javac", "mvn", "go", "cargo", "python3", "node", "npm", "curl", "amqp-consume"];

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        fs::create_dir(place.folder.path().join("tools")).expect("a temporary folder takes another");
        TOOLS.iter().for_each(|tool| place.tool(tool, "exit 0"));
        place
    }

    fn tool(&self, name: &str, script: &str) {
        let path = self.folder.path().join("tools").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a temporary folder takes a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its owner may");
    }

    fn install(&self, driver: &str) -> Output {
        let inherited = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{inherited}", self.folder.path().join("tools").display());
        let mut command = Command::new(scripts().join("install"));
        command.arg(driver).env("PATH", path).env("MAILRAIL_CACHE", self.folder.path().join("cache"));
        command.output().expect("the script starts")
    }

    /// What would be taken as an installed driver.
    fn kept(&self) -> Vec<String> {
        let drivers = fs::read_dir(self.folder.path().join("cache/drivers")).expect("the script made it");
        let names = drivers.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with('.') && !name.ends_with(".new")).collect()
    }
}

#[test]
fn a_failed_build_fails_again_and_leaves_no_driver() {
    let broken = [
        ("java-rocketmq", "mvn", "echo no such jar >&2; exit 1"),
        ("java-rocketmq", "javac", "echo no such class >&2; exit 1"),
        ("rocketmq-spring", "javac", "echo no such class >&2; exit 1"),
        ("go-rocketmq", "go", "echo no such module >&2; exit 1"),
        ("amqp091-go", "go", "echo no such module >&2; exit 1"),
        ("rabbitmq-java", "javac", "echo no such class >&2; exit 1"),
        ("spring-amqp", "mvn", "echo no such jar >&2; exit 1"),
        ("amqplib", "npm", "echo no such package >&2; exit 1"),
        ("lapin", "cargo", "echo no such crate >&2; exit 1"),
        ("rust-rocketmq", "cargo", "echo no such crate >&2; exit 1"),
        ("ali-ons", "npm", "echo no such package >&2; exit 1"),
        // The look for the module venv succeeds; making one does not.
        ("pika", "python3", "[ \"$1\" = -c ] && exit 0; echo no such package >&2; exit 1"),
        ("celery", "python3", "[ \"$1\" = -c ] && exit 0; echo no such package >&2; exit 1"),
    ];
    for (driver, tool, script) in broken {
        let place = Place::new();
        place.tool(tool, script);
        for attempt in 1..=2 {
            let done = place.install(driver);
            let text = String::from_utf8_lossy(&done.stderr);
            assert_eq!(
                done.status.code(),
                Some(1),
                "{driver} with a broken {tool}, attempt {attempt}: {text}"
            );
            assert!(text.contains("no such"), "the tool's own words are told: {text}");
            assert!(done.stdout.is_empty(), "no program is named");
        }
        let kept = place.kept();
        assert!(kept.is_empty(), "{driver} with a broken {tool} left {kept:?}");
    }
}

#[test]
fn a_driver_that_was_built_is_kept_and_not_built_again() {
    let place = Place::new();
    let first = place.install("java-rocketmq");
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    place.tool("mvn", "exit 1");
    let second = place.install("java-rocketmq");
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stderr));
    assert_eq!(first.stdout, second.stdout);
    assert!(Path::new(String::from_utf8_lossy(&first.stdout).trim()).is_file(), "the program is there");
}

#[test]
fn a_missing_tool_is_named_with_the_line_that_installs_it() {
    let place = Place::new();
    // An empty search path but for what the script itself needs.
    let bare = place.folder.path().join("bare");
    fs::create_dir(&bare).expect("a temporary folder takes another");
    for tool in ["bash", "dirname", "readlink", "mkdir", "flock"] {
        let found =
            Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().expect("sh starts");
        let found = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        std::os::unix::fs::symlink(found, bare.join(tool)).expect("a temporary folder takes a link");
    }
    for (driver, line) in [
        ("java-rocketmq", "apt-get install openjdk-17-jdk-headless"),
        ("go-rocketmq", "curl -sSfL https://go.dev/dl/go"),
        ("rust-rocketmq", "https://sh.rustup.rs"),
        ("ali-ons", "apt-get install nodejs"),
        ("pika", "apt-get install python3 python3-venv"),
        ("curl", "apt-get install curl"),
        ("aio-pika", "apt-get install python3 python3-venv"),
        ("amqplib", "apt-get install nodejs"),
        ("amqp091-go", "curl -sSfL https://go.dev/dl/go"),
        ("spring-amqp", "apt-get install openjdk-17-jdk-headless"),
        ("lapin", "https://sh.rustup.rs"),
        ("amqp-tools", "apt-get install amqp-tools"),
    ] {
        let mut command = Command::new(scripts().join("install"));
        command.arg(driver).env("PATH", &bare).env("MAILRAIL_CACHE", place.folder.path().join("cache"));
        let done = command.output().expect("the script starts");
        let text = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(3), "{driver}: {text}");
        assert!(text.contains(line), "{driver}: {text}");
    }
}
