//! `[matrix]`: its variables, and which combinations of their values there are.
//!
//! Without `include` and `exclude` that is every one. `exclude` takes out those
//! that agree with all it names. An entry of `include` is laid over every
//! combination of the matrix whose values it does not contradict; one that
//! contradicts them all is a combination of its own. Variables that only
//! `include` names may be given other values by a later entry.

use std::collections::{BTreeSet, HashSet};

use super::axis::{Axis, spelling, values};
use super::error::Problem;
use super::names;
use super::node::{Entry, Node, Table, Value};
use super::source::{At, Sources};
use super::suggest;

/// Most stages an experiment may have, cells counted; and most combinations.
pub(super) const MAX_STAGES: usize = 50_000;

/// The matrix.
#[derive(Default)]
pub(super) struct Matrix {
    /// Its variables; those that only `include` names come last.
    pub(super) axes: Vec<Axis>,
    /// The combinations that there are; absent if all are.
    chosen: Option<Vec<Combination>>,
}

/// A value, by index, for each variable that has one.
#[derive(Clone)]
struct Combination {
    values: Vec<Option<usize>>,
    /// The entry of `include` that made it.
    made_by: Option<At>,
}

/// A combination of a few variables: pairs of variable and value, by index.
pub(super) type Values = Vec<(usize, usize)>;

/// Reads `[matrix]`.
pub(super) fn read(document: &Table, sources: &Sources, problems: &mut Vec<Problem>) -> Matrix {
    let Some(node) = document.get("matrix") else {
        return Matrix::default();
    };
    let Some(table) = node.as_table() else {
        problems.push(names::not_a_table("matrix", node));
        return Matrix::default();
    };
    let before = problems.len();
    let mut axes = Vec::new();
    for entry in &table.entries {
        if ["include", "exclude"].contains(&entry.key.as_str()) {
            continue;
        }
        problems.extend(names::problem(&entry.key, &entry.key_at));
        axes.push(Axis {
            name: entry.key.clone(),
            values: values(&entry.key, &entry.node, problems),
        });
    }
    let mut matrix = Matrix { axes, chosen: None };
    let (include, exclude) = (table.entry("include"), table.entry("exclude"));
    if problems.len() == before && (include.is_some() || exclude.is_some()) {
        let overridden = |axis: &str| {
            let at = table.get(axis).map(|node| &node.at);
            at.is_some_and(|at| sources.get(at.source).name == "--set")
        };
        matrix.choose(include, exclude, &overridden, problems);
    }
    matrix
}

/// The entries of `include` or `exclude`, each a table with something in it.
fn rows<'a>(entry: Option<&'a Entry>, problems: &mut Vec<Problem>) -> Vec<(&'a Node, &'a [Entry])> {
    let Some(entry) = entry else {
        return Vec::new();
    };
    let name = &entry.key;
    let wrong = |at: &At| {
        Problem::at(
            at,
            format!("`matrix.{name}` takes a list of tables"),
            "not that",
        )
        .hint(format!("write {name} = [{{ VARIABLE = VALUE }}]"))
    };
    let Value::Array(items) = &entry.node.value else {
        problems.push(wrong(&entry.node.at));
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        match item.as_table() {
            Some(table) if !table.entries.is_empty() => found.push((item, &table.entries[..])),
            _ => problems.push(wrong(&item.at)),
        }
    }
    found
}

impl Matrix {
    /// The names of the variables.
    pub(super) fn names(&self) -> Vec<&str> {
        self.axes.iter().map(|axis| axis.name.as_str()).collect()
    }

    /// The variable of a name, by index.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.axes.iter().position(|axis| axis.name == name)
    }

    /// Every combination that there is of some variables, later ones running
    /// fastest. `None` if there are more than [`MAX_STAGES`].
    pub(super) fn combinations(&self, axes: &BTreeSet<usize>) -> Option<Vec<Values>> {
        let Some(chosen) = &self.chosen else {
            return self.product(axes);
        };
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for combination in chosen {
            let pairs = axes
                .iter()
                .map(|axis| Some((*axis, combination.values[*axis]?)));
            if let Some(values) = pairs.collect::<Option<Values>>()
                && seen.insert(values.clone())
            {
                found.push(values);
            }
        }
        Some(found)
    }

    /// What to say if some combination lacks a variable that a stage depends on.
    pub(super) fn incomplete(
        &self,
        axes: &BTreeSet<usize>,
        stage: &str,
        at: &At,
    ) -> Option<Problem> {
        let lacks = |c: &Combination| axes.iter().copied().find(|axis| c.values[*axis].is_none());
        let chosen = self.chosen.iter().flatten();
        let (combination, axis) = chosen
            .filter(|combination| axes.iter().any(|axis| combination.values[*axis].is_some()))
            .find_map(|combination| Some((combination, lacks(combination)?)))?;
        let name = &self.axes[axis].name;
        let cell = self.spelled(combination);
        let message = format!("the cell {cell} has no `{name}`, on which stage `{stage}` depends");
        let hint = format!("say in matrix.include which `{name}` it has");
        let place = combination.made_by.as_ref().unwrap_or(at);
        Some(Problem::at(place, message, "no value").hint(hint))
    }

    /// All combinations as messages name them; none if all there are count.
    #[cfg(test)]
    pub(super) fn cells(&self) -> Vec<String> {
        let chosen = self.chosen.iter().flatten();
        chosen.map(|cell| self.spelled(cell)).collect()
    }

    fn spelled(&self, combination: &Combination) -> String {
        let values = self.axes.iter().zip(&combination.values);
        let values = values.filter_map(|(axis, value)| Some((axis, (*value)?)));
        let pairs = values.map(|(axis, value)| format!("{} = {}", axis.name, axis.values[value].0));
        format!("({})", pairs.collect::<Vec<_>>().join(", "))
    }

    fn product(&self, axes: &BTreeSet<usize>) -> Option<Vec<Values>> {
        let mut all: Vec<Values> = vec![Vec::new()];
        for axis in axes {
            let count = self.axes[*axis].values.len();
            if all.len().saturating_mul(count) > MAX_STAGES {
                return None;
            }
            let with = |chosen: &Values, value| {
                let mut chosen = chosen.clone();
                chosen.push((*axis, value));
                chosen
            };
            all = all
                .iter()
                .flat_map(|chosen| (0..count).map(move |value| with(chosen, value)))
                .collect();
        }
        Some(all)
    }

    fn choose(
        &mut self,
        include: Option<&Entry>,
        exclude: Option<&Entry>,
        overridden: &dyn Fn(&str) -> bool,
        problems: &mut Vec<Problem>,
    ) {
        let Some(all) = self.product(&(0..self.axes.len()).collect()) else {
            let at = include.or(exclude).map(|entry| &entry.key_at);
            let message = format!("the matrix has more than {MAX_STAGES} combinations");
            problems.extend(at.map(|at| Problem::at(at, message, "of all of them")));
            return;
        };
        // With no variables of its own the matrix is what `include` makes it.
        let all = if self.axes.is_empty() {
            Vec::new()
        } else {
            all
        };
        let whole = |values: Values| Combination {
            values: values.into_iter().map(|(_, value)| Some(value)).collect(),
            made_by: None,
        };
        let mut chosen: Vec<Combination> = all.into_iter().map(whole).collect();
        for (_, pairs) in rows(exclude, problems) {
            if let Some(pairs) = self.excluded(pairs, overridden, problems) {
                let agrees = |c: &Combination| pairs.iter().all(|(a, v)| c.values[*a] == *v);
                chosen.retain(|combination| !agrees(combination));
            }
        }
        self.include(&mut chosen, include, problems);
        if let (true, Some(exclude)) = (chosen.is_empty(), exclude) {
            let problem = Problem::at(&exclude.key_at, "every cell is excluded", "nothing is left");
            problems.push(problem.hint("take an entry out"));
        }
        self.chosen = Some(chosen);
    }

    fn include(
        &mut self,
        chosen: &mut Vec<Combination>,
        include: Option<&Entry>,
        problems: &mut Vec<Problem>,
    ) {
        let (own, originals) = (self.axes.len(), chosen.len());
        for (node, pairs) in rows(include, problems) {
            let pairs = self.included(pairs, problems);
            lay_over(chosen, &pairs, node, own, originals);
        }
        let width = self.axes.len();
        for combination in chosen {
            combination.values.resize(width, None);
        }
    }

    /// The variables and values of an entry of `exclude`; a value that its
    /// variable does not have here is none.
    fn excluded(
        &self,
        pairs: &[Entry],
        overridden: &dyn Fn(&str) -> bool,
        problems: &mut Vec<Problem>,
    ) -> Option<Vec<(usize, Option<usize>)>> {
        let mut found = Vec::new();
        for pair in pairs {
            let Some(axis) = self.position(&pair.key) else {
                let message = format!("the matrix has no `{}`", pair.key);
                let hint = suggest::hint(&pair.key, self.names(), "matrix variables");
                problems.push(Problem::at(&pair.key_at, message, "unknown").hint(hint));
                return None;
            };
            let text = pair.node.value.scalar_text();
            let values = &self.axes[axis].values;
            let value = values
                .iter()
                .position(|(known, _)| Some(known) == text.as_ref());
            if value.is_none() {
                if overridden(&pair.key) {
                    return None; // it takes nothing out of what is left
                }
                let message = format!("`{}` has no such value, so this excludes nothing", pair.key);
                let known = values.iter().map(|(text, _)| text.as_str());
                let hint = suggest::hint(&text.unwrap_or_default(), known, "values");
                problems.push(Problem::at(&pair.node.at, message, "unknown").hint(hint));
                return None;
            }
            found.push((axis, value));
        }
        Some(found)
    }

    /// The variables and values of an entry of `include`, made known.
    fn included(&mut self, pairs: &[Entry], problems: &mut Vec<Problem>) -> Values {
        let mut found = Vec::new();
        for pair in pairs {
            problems.extend(names::problem(&pair.key, &pair.key_at));
            let text = match spelling(&pair.key, &pair.node) {
                Ok(text) => text,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let axis = self.position(&pair.key).unwrap_or_else(|| {
                self.axes.push(Axis {
                    name: pair.key.clone(),
                    values: Vec::new(),
                });
                self.axes.len() - 1
            });
            let values = &mut self.axes[axis].values;
            let value = values.iter().position(|(known, _)| *known == text);
            let value = value.unwrap_or_else(|| {
                values.push((text, pair.node.clone()));
                values.len() - 1
            });
            found.push((axis, value));
        }
        found
    }
}

/// Lays an entry of `include` over the first `originals` combinations, whose
/// first `own` variables it must not change.
fn lay_over(
    chosen: &mut Vec<Combination>,
    pairs: &Values,
    node: &Node,
    own: usize,
    originals: usize,
) {
    let mut fits_any = false;
    let set = |values: &mut Vec<Option<usize>>| {
        for (axis, value) in pairs {
            values.resize(values.len().max(axis + 1), None);
            values[*axis] = Some(*value);
        }
    };
    for combination in &mut chosen[..originals] {
        let fits = |(axis, value): &(usize, usize)| {
            *axis >= own || combination.values[*axis] == Some(*value)
        };
        if pairs.iter().all(fits) {
            fits_any = true;
            set(&mut combination.values);
        }
    }
    if !fits_any {
        let mut values = vec![None; own];
        set(&mut values);
        chosen.push(Combination {
            values,
            made_by: Some(node.at.clone()),
        });
    }
}
