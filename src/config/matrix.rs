//! Which stages the matrix multiplies, and their cells.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use moreline_protocol::artifact::roles;
use moreline_protocol::spec::StageKind;

use super::axes::{MAX_STAGES, Matrix};
use super::error::Problem;
use super::interpolate::{Scope, matrix_names};
use super::names;
use super::node::{Node, Table, Value};
use super::source::At;

/// A stage table, defaults merged in, references not yet replaced.
pub(super) struct StageTable {
    /// The table's name.
    pub(super) base: String,
    /// Where the name is written.
    pub(super) at: At,
    /// Its kind.
    pub(super) kind: StageKind,
    /// Its settings, `kind` left out.
    pub(super) table: Table,
}

/// A stage of the experiment: a cell of the matrix, or a shared stage.
pub(super) struct Cell {
    /// The unique name: `rm`, `rm:more`.
    pub(super) name: String,
    /// The stage table it comes from.
    pub(super) base: String,
    /// Where that table's name is written.
    pub(super) at: At,
    /// Its kind.
    pub(super) kind: StageKind,
    /// Matrix variables and values.
    pub(super) cell: Vec<(String, String)>,
    /// The settings, references to variables replaced and references to
    /// stages replaced by cell names.
    pub(super) table: Table,
    /// False if a reference to a variable in it means nothing.
    pub(super) sound: bool,
}

/// Multiplies stages by the matrix.
pub(super) struct Expansion<'a> {
    matrix: &'a Matrix,
    axis_names: Vec<&'a str>,
    vars: &'a Table,
    used: &'a RefCell<BTreeSet<String>>,
    stages: &'a [StageTable],
    /// The stages by name.
    by_base: HashMap<&'a str, usize>,
    /// Per stage the axes it depends on, ascending.
    depends: Vec<BTreeSet<usize>>,
}

impl<'a> Expansion<'a> {
    /// Finds out which stages depend on which axes.
    pub(super) fn new(
        matrix: &'a Matrix,
        vars: &'a Table,
        used: &'a RefCell<BTreeSet<String>>,
        stages: &'a [StageTable],
    ) -> Self {
        let mut expansion = Self {
            matrix,
            axis_names: matrix.names(),
            vars,
            used,
            stages,
            by_base: HashMap::new(),
            depends: Vec::new(),
        };
        let bases = stages.iter().enumerate();
        expansion.by_base = bases.map(|(i, stage)| (stage.base.as_str(), i)).collect();
        expansion.depends = stages.iter().map(|s| expansion.own_axes(s)).collect();
        let targets: Vec<BTreeSet<usize>> = (0..stages.len())
            .map(|index| expansion.targets(index))
            .collect();
        expansion.inherit(&targets);
        expansion
    }

    fn own_axes(&self, stage: &StageTable) -> BTreeSet<usize> {
        stage
            .table
            .entries
            .iter()
            .flat_map(|entry| matrix_names(&entry.node, self.vars))
            .filter_map(|name| self.matrix.position(&name))
            .collect()
    }

    /// The stages that a stage names as a whole, in any of its own cells.
    fn targets(&self, index: usize) -> BTreeSet<usize> {
        let stage = &self.stages[index];
        let mut found = BTreeSet::new();
        let fields = roles(stage.kind).iter().map(|role| role.field);
        for node in fields.filter_map(|field| stage.table.get(field)) {
            let cells = match matrix_names(node, self.vars).is_empty() {
                true => vec![Vec::new()],
                false => {
                    let cells = self.matrix.combinations(&self.depends[index]);
                    cells.unwrap_or_default()
                }
            };
            for values in cells {
                let node = self.scope(&values).node(node, &mut Vec::new());
                for name in node.one_or_many().iter().filter_map(Node::as_str) {
                    found.extend(self.by_base.get(names::without_step(name)));
                }
            }
        }
        found
    }

    /// Hands axes down the references until nothing changes.
    fn inherit(&mut self, targets: &[BTreeSet<usize>]) {
        loop {
            let mut changed = false;
            for (index, named) in targets.iter().enumerate() {
                let inherited: BTreeSet<usize> = named
                    .iter()
                    .flat_map(|target| self.depends[*target].iter().copied())
                    .collect();
                let before = self.depends[index].len();
                self.depends[index].extend(inherited);
                changed |= self.depends[index].len() != before;
            }
            if !changed {
                return;
            }
        }
    }

    fn scope<'s>(&'s self, values: &[(usize, usize)]) -> CellScope<'s, 'a> {
        CellScope {
            expansion: self,
            cell: values
                .iter()
                .map(|(axis, value)| {
                    let axis = &self.matrix.axes[*axis];
                    (axis.name.as_str(), &axis.values[*value].1)
                })
                .collect(),
        }
    }

    /// All stages, cells in the matrix's order.
    pub(super) fn cells(&self, problems: &mut Vec<Problem>) -> Vec<Cell> {
        let mut cells = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let combinations = self.matrix.combinations(&self.depends[index]);
            let Some(combinations) =
                combinations.filter(|found| cells.len() + found.len() <= MAX_STAGES)
            else {
                let message = format!("the matrix makes more than {MAX_STAGES} stages");
                problems.push(
                    Problem::at(&stage.at, message, "multiplied here").hint("shorten [matrix]"),
                );
                return cells;
            };
            let depends = &self.depends[index];
            problems.extend(self.matrix.incomplete(depends, &stage.base, &stage.at));
            for values in combinations {
                cells.push(self.cell(stage, &values, problems));
            }
        }
        cells
    }

    fn cell(
        &self,
        stage: &StageTable,
        values: &[(usize, usize)],
        problems: &mut Vec<Problem>,
    ) -> Cell {
        let before = problems.len();
        let mut table = self.scope(values).table(&stage.table, problems);
        let sound = problems.len() == before;
        for role in roles(stage.kind) {
            if let Some(node) = table.get_mut(role.field) {
                self.point_at_cells(node, values);
            }
        }
        let cell = values
            .iter()
            .map(|(axis, value)| {
                let axis = &self.matrix.axes[*axis];
                (axis.name.clone(), axis.values[*value].0.clone())
            })
            .collect();
        Cell {
            name: self.cell_name(&stage.base, values),
            base: stage.base.clone(),
            at: stage.at.clone(),
            kind: stage.kind,
            cell,
            table,
            sound,
        }
    }

    /// Replaces names of multiplied stages by those of the matching cells.
    fn point_at_cells(&self, node: &mut Node, values: &[(usize, usize)]) {
        match &mut node.value {
            Value::Array(items) => {
                for item in items {
                    self.point_at_cells(item, values);
                }
            }
            Value::String(name) => {
                let (base, step) = names::at_step(name);
                if let Some(&target) = self.by_base.get(base) {
                    let matching: Vec<(usize, usize)> = values
                        .iter()
                        .filter(|(axis, _)| self.depends[target].contains(axis))
                        .copied()
                        .collect();
                    *name = format!("{}{step}", self.cell_name(base, &matching));
                }
            }
            _ => {}
        }
    }

    fn cell_name(&self, base: &str, values: &[(usize, usize)]) -> String {
        let values = values.iter();
        let values = values.map(|(axis, value)| &*self.matrix.axes[*axis].values[*value].0);
        name_in_cell(base, values)
    }
}

/// The name of a stage in a cell of the matrix, `eval:more,7`; without values the
/// stage's own.
pub fn name_in_cell<'a>(base: &str, values: impl Iterator<Item = &'a str>) -> String {
    let values: Vec<&str> = values.collect();
    match values[..] {
        [] => base.to_owned(),
        _ => format!("{base}:{}", values.join(",")),
    }
}

/// The variables of one cell.
struct CellScope<'s, 'a> {
    expansion: &'s Expansion<'a>,
    cell: Vec<(&'s str, &'s Node)>,
}

impl CellScope<'_, '_> {
    fn scope(&self) -> Scope<'_> {
        Scope {
            vars: self.expansion.vars,
            cell: &self.cell,
            axes: &self.expansion.axis_names,
            used: self.expansion.used,
        }
    }

    fn node(&self, node: &Node, problems: &mut Vec<Problem>) -> Node {
        self.scope().node(node, problems)
    }

    fn table(&self, table: &Table, problems: &mut Vec<Problem>) -> Table {
        self.scope().table(table, problems)
    }
}

/// How many cells each stage table has.
pub(super) fn cells_by_base(cells: &[Cell]) -> BTreeMap<&str, Vec<&str>> {
    let mut by_base: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for cell in cells {
        by_base.entry(&cell.base).or_default().push(&cell.name);
    }
    by_base
}
