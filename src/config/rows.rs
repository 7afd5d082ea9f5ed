//! What `data.NAME`, `prompts.NAME` and `responses.NAME` say.

use std::path::PathBuf;

use moreline_protocol::job::RowRange;

use super::error::Problem;
use super::experiment::{HubFile, RowsDecl};
use super::hub;
use super::kinds::RowsTable;
use super::node::{Node, Table};
use crate::digest::Digest;

/// The declaration of a table whose `path` stands at `node`. `local` makes a
/// path absolute.
pub(super) fn decl(
    table: &Table,
    node: &Node,
    rows: &RowsTable,
    local: impl FnOnce(&str) -> PathBuf,
) -> Result<RowsDecl, Problem> {
    let sha256 = sha256(table, rows)?;
    let hub = file(node, rows)?;
    if hub.is_some() && sha256.is_none() {
        let message = "a file of the hub needs `sha256`: it says which bytes are meant";
        return Err(Problem::at(&node.at, message, "whatever it holds?")
            .hint("the hub shows it beside a large file; `sha256sum FILE` prints it"));
    }
    Ok(RowsDecl {
        path: match &hub {
            Some(file) => file.to_string().into(),
            None => local(&rows.path),
        },
        rows: RowRange {
            offset: rows.offset,
            limit: rows.limit,
        },
        sha256,
        hub,
    })
}

fn sha256(table: &Table, rows: &RowsTable) -> Result<Option<Digest>, Problem> {
    let (Some(text), Some(node)) = (&rows.sha256, table.get("sha256")) else {
        return Ok(None);
    };
    let digest = text.parse::<Digest>().map_err(|error| {
        Problem::at(&node.at, error.to_string(), "here").hint("`sha256sum FILE` prints it")
    })?;
    Ok(Some(digest))
}

/// The file of the hub that is meant, if it is one.
fn file(node: &Node, rows: &RowsTable) -> Result<Option<HubFile>, Problem> {
    let Some(name) = rows.path.strip_prefix("hf:") else {
        return Ok(None);
    };
    hub::parse_file(name).map(Some).map_err(|message| {
        Problem::at(&node.at, message, "here").hint(
            "write hf:datasets/organisation/name/FILE, or \
             hf:datasets/organisation/name@revision/FILE",
        )
    })
}
