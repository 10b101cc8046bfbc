//! Holds the repository against every rule, and prints each place that breaks one.
//! What the rules are, and that each of them can fail, is tested where they are written.
use std::fs;
use std::path::{Path, PathBuf};

use mailrail_tidy::{
    Source, Violation, check_doors, check_edges, check_generated, check_limits, check_lints, check_path,
    check_source, crates, source_paths,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

fn report(violations: &[Violation]) {
    if !violations.is_empty() {
        let lines: Vec<_> = violations.iter().map(ToString::to_string).collect();
        panic!("{} places break a rule:\n{}\n", lines.len(), lines.join("\n"));
    }
}

#[test]
fn crates_use_only_what_their_part_of_the_tree_may() {
    let crates = crates(&root()).expect("cargo metadata reads the workspace");
    assert!(crates.len() >= 10, "only {} crates were found", crates.len());
    assert!(
        crates.iter().any(|one| one.inside.contains(&"storage/broker".to_owned())),
        "no edges were found"
    );
    report(&check_edges(&crates));
}

#[test]
fn files_folders_and_crates_have_telling_names() {
    let paths = source_paths(&root()).expect("the tree is readable");
    assert!(paths.iter().any(|path| path == "Cargo.toml"), "the walk missed the root");
    report(&paths.iter().filter_map(|path| check_path(path)).collect::<Vec<_>>());
}

#[test]
fn rust_files_keep_every_rule() {
    let root = root();
    let paths = source_paths(&root).expect("the tree is readable");
    let sources: Vec<_> = paths
        .iter()
        .filter(|path| path.ends_with(".rs"))
        .map(|path| {
            let text = fs::read_to_string(root.join(path)).expect("a source file is UTF-8");
            Source::parse(path, &text).unwrap_or_else(|error| panic!("{error}"))
        })
        .collect();
    assert!(sources.len() >= 10, "only {} Rust files were found", sources.len());
    let mut violations: Vec<_> = sources.iter().flat_map(check_source).collect();
    violations.extend(check_doors(&sources));
    violations.extend(check_limits(&sources));
    violations.extend(check_lints(&sources));
    violations.extend(check_generated(&sources));
    report(&violations);
}
