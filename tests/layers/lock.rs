//! `Cargo.lock` as a graph: who depends on whom, without running cargo.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

/// The packages of a lock file by name. Versions of one name are merged, which
/// can only make more packages reachable, never fewer.
pub(super) struct Lock {
    dependencies: BTreeMap<String, BTreeSet<String>>,
    members: Vec<String>,
}

impl Lock {
    /// Reads a lock file of format 3 or 4; panics, naming the file, if it cannot.
    pub(super) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let table: toml::Table = text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut lock = Self {
            dependencies: BTreeMap::new(),
            members: Vec::new(),
        };
        for package in table["package"].as_array().expect("`package` is an array") {
            lock.add(package);
        }
        lock
    }

    fn add(&mut self, package: &toml::Value) {
        let name = package["name"].as_str().expect("a package has a name");
        if package.get("source").is_none() {
            self.members.push(name.to_owned());
        }
        let names = package
            .get("dependencies")
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(toml::Value::as_str)
            // "name", "name version" or "name version (source)"
            .filter_map(|entry| entry.split(' ').next())
            .map(str::to_owned);
        self.dependencies
            .entry(name.to_owned())
            .or_default()
            .extend(names);
    }

    /// The packages without a source: those of the workspace.
    pub(super) fn members(&self) -> &[String] {
        &self.members
    }

    /// The shortest chain of dependencies from one package to another, both ends
    /// included, or `None` if there is none.
    pub(super) fn chain(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::from([from.to_owned()]);
        let mut queue = VecDeque::from([vec![from.to_owned()]]);
        while let Some(chain) = queue.pop_front() {
            let last = chain.last()?;
            if last == to {
                return Some(chain);
            }
            for next in self.dependencies.get(last).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    queue.push_back([chain.as_slice(), std::slice::from_ref(next)].concat());
                }
            }
        }
        None
    }
}
