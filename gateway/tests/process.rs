//! The program as whoever starts it meets it: exit codes, what standard error says, the ready file, and how it stops.

use std::process::{Command, Output, Stdio};

fn mailrail() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailrail"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MAILRAIL_")) {
        command.env_remove(name);
    }
    command
}

fn outcome(command: &mut Command) -> (Option<i32>, Vec<String>) {
    let Output { status, stderr, .. } = command.stdin(Stdio::null()).output().unwrap();
    let lines = String::from_utf8(stderr).unwrap().lines().map(str::to_owned).collect();
    (status.code(), lines)
}

#[test]
fn a_wrong_setting_costs_one_line_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mailrail.toml");
    std::fs::write(&file, "htp-listen = \"127.0.0.1:0\"\n").unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&["--htp-listen", "127.0.0.1:0"], "--htp-listen"),
        (&["--segment-mib", "many"], "many"),
        (&["--data"], "--data"),
        (&["--config", file], "htp-listen"),
        (&["--config", "/nowhere/mailrail.toml"], "/nowhere/mailrail.toml"),
        (&["--log-level", "inof"], "\"inof\""),
        (&["--amqp-listen", "0.0.0.0:0"], "0.0.0.0:0"),
    ];
    for (arguments, named) in cases {
        let mut command = mailrail();
        command.current_dir(folder.path()).arg("serve").args(arguments);
        let (code, lines) = outcome(&mut command);
        assert_eq!(code, Some(2), "{arguments:?}: {lines:?}");
        assert!(lines.len() == 1 && lines[0].contains(named), "{arguments:?}: {lines:?}");
        assert!(!folder.path().join("mailrail-data").exists(), "{arguments:?}");
    }
    for arguments in [&[][..], &["sevre"]] {
        let (code, lines) = outcome(mailrail().args(arguments));
        assert_eq!((code, lines.len()), (Some(2), 1), "{arguments:?}: {lines:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"]] {
        let output = mailrail().args(arguments).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("mailrail"));
    }
}
