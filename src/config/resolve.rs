//! From the merged document to the resolved experiment.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use moreline_protocol::spec::{StageKind, StageSpec, published};

use super::axes::{self, Matrix};
use super::check;
use super::error::Problem;
use super::experiment::{Experiment, ModelDecl, ModelSource, RowsDecl, StageDecl};
use super::files::ReadFile;
use super::hub;
use super::interpolate::Scope;
use super::kinds::{self, ModelTable, RowsTable};
use super::matrix::{Cell, Expansion, StageTable};
use super::names;
use super::node::{Entry, Node, Table};
use super::references;
use super::rows;
use super::rules;
use super::source::{At, Sources, absolute};
use super::suggest;

/// The tables and settings of an experiment file.
pub(super) const TOP: [&str; 10] = [
    "extends",
    "title",
    "vars",
    "matrix",
    "defaults",
    "model",
    "data",
    "prompts",
    "responses",
    "stage",
];

/// Resolves a document whose overrides are already laid over it.
pub(super) fn experiment(
    file: &ReadFile,
    sources: &Sources,
    problems: &mut Vec<Problem>,
) -> Experiment {
    let document = &file.document;
    top_level(document, problems);
    problems.extend(references::duplicates(document));
    let empty = Table::default();
    let vars = variables(document, &empty, problems);
    let matrix = axes::read(document, sources, problems);
    let used = RefCell::new(BTreeSet::new());
    let resolver = Resolver {
        sources,
        document,
        vars,
        matrix: &matrix,
        used: &used,
    };
    let result = resolver.resolve(file, problems);
    resolver.unused_overrides(problems);
    result
}

fn top_level(document: &Table, problems: &mut Vec<Problem>) {
    for entry in &document.entries {
        if !TOP.contains(&entry.key.as_str()) {
            problems.push(
                Problem::at(
                    &entry.key_at,
                    format!("`{}` is not a table of an experiment", entry.key),
                    "unknown",
                )
                .hint(suggest::hint(&entry.key, TOP, "tables")),
            );
        }
    }
}

fn variables<'a>(document: &'a Table, empty: &'a Table, problems: &mut Vec<Problem>) -> &'a Table {
    let Some(node) = document.get("vars") else {
        return empty;
    };
    let Some(table) = node.as_table() else {
        problems.push(names::not_a_table("vars", node));
        return empty;
    };
    for entry in &table.entries {
        problems.extend(names::problem(&entry.key, &entry.key_at));
    }
    table
}

struct Resolver<'a> {
    sources: &'a Sources,
    document: &'a Table,
    vars: &'a Table,
    matrix: &'a Matrix,
    used: &'a RefCell<BTreeSet<String>>,
}

impl Resolver<'_> {
    fn resolve(&self, file: &ReadFile, problems: &mut Vec<Problem>) -> Experiment {
        let stages = self.stage_tables(problems);
        let cells = Expansion::new(self.matrix, self.vars, self.used, &stages).cells(problems);
        let schemas: BTreeMap<StageKind, serde_json::Value> = cells
            .iter()
            .map(|cell| cell.kind)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|kind| (kind, kinds::of_kind(kind)))
            .collect();
        let specs: Vec<Option<StageSpec>> = cells
            .iter()
            .map(|cell| spec(cell, &schemas[&cell.kind], problems))
            .collect();
        references::check(self.document, &cells, &specs, problems);
        let stages = cells.into_iter().zip(specs).filter_map(|(cell, spec)| {
            let spec = spec.or_else(|| salvaged(&cell, &schemas[&cell.kind]))?;
            Some(StageDecl {
                name: cell.name,
                base: cell.base,
                cell: cell.cell,
                spec,
            })
        });
        let name = file.path.file_stem().unwrap_or_default();
        Experiment {
            path: file.path.clone(),
            name: name.to_string_lossy().into_owned(),
            title: self.title(problems),
            models: self.models(problems),
            data: self.rows("data", problems),
            prompts: self.rows("prompts", problems),
            responses: self.rows("responses", problems),
            stages: stages.collect(),
            smoke: false,
        }
    }

    fn outside_stages(&self, node: &Node, problems: &mut Vec<Problem>) -> Node {
        let axes = self.matrix.names();
        let scope = Scope {
            vars: self.vars,
            cell: &[],
            axes: &axes,
            used: self.used,
        };
        scope.node(node, problems)
    }

    fn title(&self, problems: &mut Vec<Problem>) -> Option<String> {
        let node = self.outside_stages(self.document.get("title")?, problems);
        if node.as_str().is_none() {
            let what = node.value.describe();
            let message = format!("`title` takes a string, but this is {what}");
            problems.push(Problem::at(&node.at, message, what));
        }
        node.as_str().map(str::to_owned)
    }

    fn models(&self, problems: &mut Vec<Problem>) -> BTreeMap<String, ModelDecl> {
        let schema = kinds::schema_of::<ModelTable>();
        let mut found = BTreeMap::new();
        for (entry, _) in names::tables(self.document, "model", problems) {
            let Some((table, model)) =
                self.declared::<ModelTable>("model", entry, &schema, problems)
            else {
                continue;
            };
            let Some(node) = table.get("source") else {
                continue;
            };
            match self.model_source(node, &model.source) {
                Ok(source) => {
                    found.insert(entry.key.clone(), ModelDecl { source });
                }
                Err(problem) => problems.push(problem),
            }
        }
        found
    }

    fn model_source(&self, node: &Node, source: &str) -> Result<ModelSource, Problem> {
        if let Some(name) = source.strip_prefix("hf:") {
            let (repo, revision) = hub::parse(name).map_err(|message| {
                Problem::at(&node.at, message, "here")
                    .hint("write hf:organisation/name, or hf:organisation/name@revision")
            })?;
            return Ok(ModelSource::Hub { repo, revision });
        }
        if source.is_empty() {
            return Err(empty_path(node, "source"));
        }
        Ok(ModelSource::Path(self.path(node, source)))
    }

    fn rows(&self, top: &str, problems: &mut Vec<Problem>) -> BTreeMap<String, RowsDecl> {
        let schema = kinds::schema_of::<RowsTable>();
        let mut found = BTreeMap::new();
        for (entry, _) in names::tables(self.document, top, problems) {
            let Some((table, rows)) = self.declared::<RowsTable>(top, entry, &schema, problems)
            else {
                continue;
            };
            let Some(node) = table.get("path") else {
                continue;
            };
            if rows.path.is_empty() {
                problems.push(empty_path(node, "path"));
                continue;
            }
            match rows::decl(&table, node, &rows, |path| self.path(node, path)) {
                Ok(decl) => {
                    found.insert(entry.key.clone(), decl);
                }
                Err(problem) => problems.push(problem),
            }
        }
        found
    }

    /// A declared table, its references replaced, as its type.
    fn declared<T: serde::de::DeserializeOwned>(
        &self,
        top: &str,
        entry: &Entry,
        schema: &serde_json::Value,
        problems: &mut Vec<Problem>,
    ) -> Option<(Table, T)> {
        let before = problems.len();
        let node = self.outside_stages(&entry.node, problems);
        let table = node.as_table()?.clone();
        let subject = check::Subject {
            name: &format!("{top}.{}", entry.key),
            of: &format!("a {top} table"),
            at: &entry.key_at,
        };
        check::table(&subject, &table, schema, problems);
        if problems.len() > before {
            // What is right in it still says which file is meant.
            let table = check::sound(&table, schema);
            let typed = serde_json::from_value(table.to_json()).ok()?;
            return Some((table, typed));
        }
        let typed = typed(&table, &entry.key_at, problems)?;
        Some((table, typed))
    }

    fn path(&self, node: &Node, path: &str) -> std::path::PathBuf {
        absolute(&self.sources.get(node.base).directory, path)
    }

    /// The stage tables with their kinds read and defaults merged in.
    fn stage_tables(&self, problems: &mut Vec<Problem>) -> Vec<StageTable> {
        let defaults = self.defaults(problems);
        let mut stages = Vec::new();
        for (entry, table) in names::tables(self.document, "stage", problems) {
            let Some(kind) = kind(entry, table, problems) else {
                continue;
            };
            let mut merged = defaults
                .get(&kind)
                .map_or_else(Table::default, |t| (*t).clone());
            let mut own = table.clone();
            own.entries.retain(|setting| setting.key != "kind");
            merged.merge(own);
            stages.push(StageTable {
                base: entry.key.clone(),
                at: entry.key_at.clone(),
                kind,
                table: merged,
            });
        }
        if stages.is_empty() && problems.is_empty() {
            problems.push(
                Problem::nowhere("the experiment has no stages")
                    .hint("add a table [stage.NAME] with a kind"),
            );
        }
        stages
    }

    fn defaults(&self, problems: &mut Vec<Problem>) -> BTreeMap<StageKind, &Table> {
        let mut found = BTreeMap::new();
        for (entry, table) in names::tables(self.document, "defaults", problems) {
            let Some(kind) = kinds::named(&entry.key) else {
                problems.push(kinds::unknown(&entry.key, &entry.key_at));
                continue;
            };
            // Values that hold references are checked in the stages.
            let mut plain = table.clone();
            plain
                .entries
                .retain(|e| !e.node.to_json().to_string().contains("${"));
            let of = names::a_stage(kind);
            check::entries(&of, &plain, &kinds::of_kind(kind), problems);
            found.insert(kind, table);
        }
        found
    }

    /// `--set vars.x=...` of a variable that the file does not know.
    fn unused_overrides(&self, problems: &mut Vec<Problem>) {
        for entry in &self.vars.entries {
            let overridden = self.sources.get(entry.key_at.source).name == "--set";
            if overridden && !self.used.borrow().contains(&entry.key) {
                let others = self.vars.keys().filter(|name| *name != entry.key);
                problems.push(
                    Problem::at(
                        &entry.key_at,
                        format!("the experiment has no variable `{}`", entry.key),
                        "unknown",
                    )
                    .hint(suggest::hint(&entry.key, others, "variables")),
                );
            }
        }
    }
}

fn empty_path(node: &Node, key: &str) -> Problem {
    Problem::at(&node.at, format!("`{key}` is empty"), "nothing here").hint("name a file")
}

fn kind(entry: &Entry, table: &Table, problems: &mut Vec<Problem>) -> Option<StageKind> {
    let Some(node) = table.get("kind") else {
        let names = StageKind::ALL.map(StageKind::name);
        problems.push(
            Problem::at(
                &entry.key_at,
                format!("stage `{}` needs `kind`", entry.key),
                "of which kind?",
            )
            .hint(format!("kinds: {}", suggest::list(&names))),
        );
        return None;
    };
    let Some(name) = node.as_str() else {
        let what = node.value.describe();
        let message = format!("`kind` takes a string, but this is {what}");
        problems.push(Problem::at(&node.at, message, what));
        return None;
    };
    let kind = kinds::named(name);
    if kind.is_none() {
        problems.push(kinds::unknown(name, &node.at));
    }
    kind
}

/// A cell's parameters, if its settings are all right.
fn spec(cell: &Cell, schema: &serde_json::Value, problems: &mut Vec<Problem>) -> Option<StageSpec> {
    let before = problems.len();
    let subject = check::Subject {
        name: &format!("stage.{}", cell.base),
        of: &names::a_stage(cell.kind),
        at: &cell.at,
    };
    check::table(&subject, &cell.table, schema, problems);
    if problems.len() > before || !cell.sound {
        return None;
    }
    let mut table = cell.table.to_json();
    if let (StageKind::TrainReward, Some(settings)) = (cell.kind, table.as_object_mut()) {
        published(settings);
    }
    table["kind"] = cell.kind.name().into();
    let spec = match serde_json::from_value(table) {
        Ok(spec) => spec,
        Err(error) => {
            problems.push(unreadable(&cell.at, &error));
            return None;
        }
    };
    problems.extend(rules::check(cell, &spec));
    Some(spec)
}

/// What can be made of a cell with wrong settings when those are left out, for
/// the inputs it names.
fn salvaged(cell: &Cell, schema: &serde_json::Value) -> Option<StageSpec> {
    let mut table = check::sound(&cell.table, schema).to_json();
    table["kind"] = cell.kind.name().into();
    serde_json::from_value(table).ok()
}

fn typed<T: serde::de::DeserializeOwned>(
    table: &Table,
    at: &At,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    serde_json::from_value(table.to_json())
        .map_err(|error| problems.push(unreadable(at, &error)))
        .ok()
}

/// What serde still refuses after the schema was satisfied.
fn unreadable(at: &At, error: &serde_json::Error) -> Problem {
    Problem::at(at, format!("cannot be read: {error}"), "in this table")
}
