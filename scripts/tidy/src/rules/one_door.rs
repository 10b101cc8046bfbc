//! Crates that may be used in one module only: the rule looks at all files of a crate together.
use std::collections::BTreeMap;

use super::imports::named_paths;
use crate::{Source, Violation};

const ENGINE_CRATES: [&str; 2] = ["sled", "redb"];
const ENGINE_FOLDER: &str = "storage/broker/src/";
const WHY: &str =
    "the store's engines stand behind one trait, under the same tests; two doors would tie us to one of them";

/// Every module but the first, by name, that names an engine.
pub fn check_doors(sources: &[Source]) -> Vec<Violation> {
    let mut doors: BTreeMap<String, Vec<Violation>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let Some(inside) = source.path.strip_prefix(ENGINE_FOLDER) else { continue };
        let module = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        for (line, path) in named_paths(source) {
            if path.split("::").next().is_some_and(|name| ENGINE_CRATES.contains(&name)) {
                let what = format!("module {module} names {path}");
                let violation = Violation { path: source.path.clone(), line, what, why: WHY };
                doors.entry(module.to_owned()).or_default().push(violation);
            }
        }
    }
    doors.into_values().skip(1).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(files: &[(&str, &str)]) -> usize {
        let parse =
            |(path, text): &(&str, &str)| Source::parse(path, text).expect("the test's own text is Rust");
        check_doors(&files.iter().map(parse).collect::<Vec<_>>()).len()
    }

    #[test]
    fn one_module_of_several_files_is_one_door() {
        let used = "use sled::Db;";
        assert_eq!(
            doors(&[("storage/broker/src/store/a.rs", used), ("storage/broker/src/store/b.rs", used)]),
            0
        );
        assert_eq!(
            doors(&[("storage/broker/src/store/a.rs", used), ("storage/broker/src/queue.rs", used)]),
            1
        );
        let called = "fn f() { redb::Database::open(x); }";
        assert_eq!(
            doors(&[("storage/broker/src/store.rs", used), ("storage/broker/src/queue/a.rs", called)]),
            1
        );
    }
}
