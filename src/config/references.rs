//! Names and what refers to them: missing, of the wrong type, in a circle.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use moreline_protocol::artifact::{ArtifactType, RoleDecl, outputs, roles};
use moreline_protocol::spec::StageSpec;

use super::error::Problem;
use super::matrix::{Cell, cells_by_base};
use super::names;
use super::node::{Node, Table};
use super::source::At;
use super::{steps, suggest};

/// The tables whose entries can be referred to, by name alone.
const TABLES: [&str; 5] = ["model", "data", "prompts", "responses", "stage"];

/// Everything that can be referred to.
pub(super) struct Referents<'a> {
    /// Models and sets by name, with what they hold.
    declared: BTreeMap<&'a str, ArtifactType>,
    /// Names of several things: reported as that, and as nothing else.
    shared: BTreeSet<&'a str>,
    /// Cells by name.
    cells: HashMap<&'a str, usize>,
    /// Cell names by stage table.
    by_base: BTreeMap<&'a str, Vec<&'a str>>,
    /// What each cell gives; `None` if its settings are wrong.
    specs: &'a [Option<StageSpec>],
}

/// One reference that was found.
struct Edge {
    to: usize,
    at: At,
}

/// Checks all references of all cells.
pub(super) fn check(
    document: &Table,
    cells: &[Cell],
    specs: &[Option<StageSpec>],
    problems: &mut Vec<Problem>,
) {
    let referents = Referents::new(document, cells, specs);
    let mut edges: Vec<Vec<Edge>> = Vec::new();
    for cell in cells {
        let mut found = Vec::new();
        for role in roles(cell.kind) {
            let nodes = cell.table.get(role.field).map(Node::one_or_many);
            for node in nodes.into_iter().flatten() {
                match referents.resolve(cell, role, node) {
                    Ok(Some(to)) => found.push(Edge {
                        to,
                        at: node.at.clone(),
                    }),
                    Ok(None) => {}
                    Err(problem) => problems.push(problem),
                }
            }
        }
        edges.push(found);
    }
    problems.extend(cycles(cells, &edges));
}

/// Names that two tables give to different things.
pub(super) fn duplicates(document: &Table) -> Vec<Problem> {
    let mut first: HashMap<&str, (&str, &At)> = HashMap::new();
    let mut problems = Vec::new();
    for top in TABLES {
        let table = document.get(top).and_then(Node::as_table);
        for entry in table.into_iter().flat_map(|table| &table.entries) {
            match first.get(entry.key.as_str()) {
                Some((other, at)) => problems.push(
                    Problem::at(
                        &entry.key_at,
                        format!("two things are called `{}`", entry.key),
                        format!("`{top}.{}` here", entry.key),
                    )
                    .also(at, format!("`{other}.{}` here", entry.key))
                    .hint("references go by name alone; rename one of them"),
                ),
                None => {
                    first.insert(&entry.key, (top, &entry.key_at));
                }
            }
        }
    }
    problems
}

impl<'a> Referents<'a> {
    fn new(document: &'a Table, cells: &'a [Cell], specs: &'a [Option<StageSpec>]) -> Self {
        let mut declared = BTreeMap::new();
        for (top, artifact) in [
            ("model", ArtifactType::LanguageModel),
            ("data", ArtifactType::Preferences),
            ("prompts", ArtifactType::Prompts),
            // They may have scores; a stage that needs them says so if not.
            ("responses", ArtifactType::ScoredResponses),
        ] {
            let table = document.get(top).and_then(Node::as_table);
            for name in table.into_iter().flat_map(Table::keys) {
                declared.insert(name, artifact);
            }
        }
        let (mut names, mut shared) = (BTreeSet::new(), BTreeSet::new());
        for top in TABLES {
            let table = document.get(top).and_then(Node::as_table);
            for name in table.into_iter().flat_map(Table::keys) {
                if !names.insert(name) {
                    shared.insert(name);
                }
            }
        }
        let cells_by_name = cells.iter().enumerate();
        Self {
            declared,
            shared,
            cells: cells_by_name.map(|(i, c)| (c.name.as_str(), i)).collect(),
            by_base: cells_by_base(cells),
            specs,
        }
    }

    /// The stage a reference names, or `None` if it names something else that
    /// fits, or nothing can be said.
    fn resolve(&self, cell: &Cell, role: &RoleDecl, node: &Node) -> Result<Option<usize>, Problem> {
        let Some(name) = node.as_str() else {
            return Ok(None); // the type was reported already
        };
        let reference = name;
        let (name, step) = names::at_step(reference);
        if self.shared.contains(name) {
            return Ok(None);
        }
        if let Some(artifact) = self.declared.get(name) {
            if !step.is_empty() {
                let what = format!("{} {}", article(*artifact), artifact.describe());
                return Err(steps::not_a_training(node, name, &what));
            }
            return if role.accepts.contains(artifact) {
                Ok(None)
            } else {
                let what = format!("{} {}", article(*artifact), artifact.describe());
                Err(self.misfit(cell, role, node, name, &what))
            };
        }
        let Some(index) = self.cells.get(name).copied() else {
            return Err(self.missing(role, node, name));
        };
        let Some(spec) = &self.specs[index] else {
            return Ok(Some(index));
        };
        if !step.is_empty() {
            steps::check(node, reference, name, spec)?;
        }
        let given = outputs(spec);
        if given.iter().any(|o| role.accepts.contains(&o.artifact)) {
            return Ok(Some(index));
        }
        let what = format!(
            "{}, which gives {}",
            names::a_stage(spec.kind()),
            given.first().map_or("nothing", |o| o.artifact.describe()),
        );
        Err(self.misfit(cell, role, node, name, &what))
    }

    fn misfit(&self, cell: &Cell, role: &RoleDecl, node: &Node, name: &str, what: &str) -> Problem {
        let stage = names::a_stage(cell.kind);
        let problem = Problem::at(
            &node.at,
            format!(
                "`{}` of {stage} takes {}, and `{name}` is {what}",
                role.field,
                wanted(role)
            ),
            "of the wrong type",
        );
        let fitting = self.fitting(role, &cell.name);
        if fitting.is_empty() {
            return problem.hint(format!("nothing here gives {}", wanted(role)));
        }
        problem.hint(format!("these fit: {}", suggest::list(&fitting)))
    }

    fn missing(&self, role: &RoleDecl, node: &Node, name: &str) -> Problem {
        let base = name.split(':').next().unwrap_or(name);
        if let Some(cells) = self.by_base.get(base) {
            let problem = Problem::at(
                &node.at,
                format!("stage `{base}` has no cell `{name}`"),
                "no such cell",
            );
            return problem.hint(format!("there are {}", suggest::list(cells)));
        }
        let all = self
            .declared
            .keys()
            .chain(self.by_base.keys())
            .copied()
            .collect::<Vec<_>>();
        let hint = match suggest::closest(name, all.iter().copied()) {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None => {
                let fitting = self.fitting(role, "");
                if fitting.is_empty() {
                    format!("nothing here gives {}", wanted(role))
                } else {
                    format!("these fit: {}", suggest::list(&fitting))
                }
            }
        };
        Problem::at(
            &node.at,
            format!("nothing here is called `{name}`"),
            "unknown name",
        )
        .hint(hint)
    }

    /// The names that fit a role, a few of them, `except` left out.
    fn fitting(&self, role: &RoleDecl, except: &str) -> Vec<&str> {
        let declared = self
            .declared
            .iter()
            .filter(|(_, artifact)| role.accepts.contains(artifact))
            .map(|(name, _)| *name);
        let mut cells: Vec<(usize, &str)> = self
            .cells
            .iter()
            .filter(|(name, index)| {
                let spec = self.specs[**index].as_ref();
                let fits = |spec| {
                    outputs(spec)
                        .iter()
                        .any(|o| role.accepts.contains(&o.artifact))
                };
                **name != except && spec.is_some_and(fits)
            })
            .map(|(name, index)| (*index, *name))
            .collect();
        cells.sort_unstable();
        declared
            .chain(cells.into_iter().map(|(_, name)| name))
            .take(8)
            .collect()
    }
}

fn wanted(role: &RoleDecl) -> String {
    let names: Vec<String> = role
        .accepts
        .iter()
        .map(|artifact| format!("{}{}", article_before(*artifact), artifact.describe()))
        .collect();
    names.join(" or ")
}

fn article(artifact: ArtifactType) -> &'static str {
    match artifact {
        ArtifactType::Responses
        | ArtifactType::ScoredResponses
        | ArtifactType::Examples
        | ArtifactType::Records => "a set of",
        _ => "a",
    }
}

fn article_before(artifact: ArtifactType) -> &'static str {
    match article(artifact) {
        "a" => "a ",
        _ => "",
    }
}

/// One problem per circle of references, every member named in order.
fn cycles(cells: &[Cell], edges: &[Vec<Edge>]) -> Vec<Problem> {
    let mut walk = Walk {
        cells,
        edges,
        state: vec![State::New; cells.len()],
        path: Vec::new(),
        found: Vec::new(),
    };
    for start in 0..cells.len() {
        walk.visit(start);
    }
    walk.found
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    OnPath,
    Done,
}

struct Walk<'a> {
    cells: &'a [Cell],
    edges: &'a [Vec<Edge>],
    state: Vec<State>,
    /// The stages from the start to here, each with the edge taken next.
    path: Vec<(usize, usize)>,
    found: Vec<Problem>,
}

impl Walk<'_> {
    /// Depth first without recursion: chains may be thousands of stages long.
    fn visit(&mut self, start: usize) {
        if self.state[start] != State::New {
            return;
        }
        self.state[start] = State::OnPath;
        self.path.push((start, 0));
        while let Some((node, next)) = self.path.last().copied() {
            let Some(edge) = self.edges[node].get(next) else {
                self.state[node] = State::Done;
                self.path.pop();
                continue;
            };
            if let Some(last) = self.path.last_mut() {
                last.1 += 1;
            }
            match self.state[edge.to] {
                State::New => {
                    self.state[edge.to] = State::OnPath;
                    self.path.push((edge.to, 0));
                }
                State::OnPath => self.report(edge.to),
                State::Done => {}
            }
        }
    }

    fn report(&mut self, to: usize) {
        let start = self
            .path
            .iter()
            .position(|(node, _)| *node == to)
            .unwrap_or(0);
        let members = &self.path[start..];
        let name = |index: usize| self.cells[index].base.as_str();
        let mut names: Vec<&str> = members.iter().map(|(node, _)| name(*node)).collect();
        names.push(name(to));
        let mut labels = Vec::new();
        for (node, next) in members {
            let edge = &self.edges[*node][next - 1];
            labels.push((
                edge.at.clone(),
                format!("`{}` needs `{}`", name(*node), name(edge.to)),
            ));
        }
        self.found.push(Problem {
            message: format!("stages need each other in a circle: {}", names.join(" -> ")),
            labels,
            hint: Some("take one of these references out".into()),
        });
    }
}
