//! The repository as it lies on disk: its crates by `cargo metadata`, its files by walking. Judges nothing.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use thiserror::Error;

use crate::Crate;

/// Folders that hold what was built or fetched, never what was written.
const SKIPPED_FOLDERS: &[&str] = &["target", "node_modules", "__pycache__", "mailrail-data", "venv"];

/// Why the tree could not be read.
#[derive(Debug, Error)]
pub enum TreeError {
    #[error("cargo metadata: {0}")]
    Metadata(#[from] cargo_metadata::Error),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Every crate of the workspace at `root`.
pub fn crates(root: &Path) -> Result<Vec<Crate>, TreeError> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let root = metadata.workspace_root.as_std_path();
    Ok(metadata.packages.iter().map(|package| read_crate(root, package)).collect())
}

fn read_crate(root: &Path, package: &Package) -> Crate {
    let folder = package.manifest_path.parent().map_or(Path::new(""), |folder| folder.as_std_path());
    let mut one = Crate { name: package.name.to_string(), folder: below(root, folder), ..Crate::default() };
    for dependency in &package.dependencies {
        match &dependency.path {
            Some(path) => one.inside.push(below(root, path.as_std_path())),
            None if dependency.kind != DependencyKind::Development => {
                one.outside.push(dependency.name.clone())
            }
            None => {}
        }
    }
    one
}

/// Every file below `root` that people wrote, as paths from `root` with `/`, in order of name.
pub fn source_paths(root: &Path) -> Result<Vec<String>, TreeError> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let error = |source| TreeError::Io { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let kind = entry.file_type().map_err(error)?;
            if name.starts_with('.') || kind.is_dir() && SKIPPED_FOLDERS.contains(&name.as_ref()) {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(below(root, &entry.path()));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn below(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    inside.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_built_or_hidden_is_not_walked() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for path in ["a/b.rs", "target/c.rs", "a/node_modules/d.js", ".git/e", "Cargo.toml"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a writable folder");
            fs::write(path, "").expect("a writable folder");
        }
        assert_eq!(source_paths(root.path()).expect("readable"), ["Cargo.toml", "a/b.rs"]);
    }
}
