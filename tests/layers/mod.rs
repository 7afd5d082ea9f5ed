//! The architecture, as tests: which layer may import which, where tensors are
//! touched, and where `unsafe` is allowed. A failure names file and line.

mod lock;
mod source;

use std::path::{Path, PathBuf};

use lock::Lock;
use source::SourceFile;

/// The layers of `src/`, lowest first. A module imports from its own rank and the
/// ranks before it, never from one after it.
const LAYERS: &[&[&str]] = &[
    &["digest", "event", "error", "redact"],
    &["config"],
    &["plan"],
    &["store"],
    &["engine"],
    &["records", "judge"],
    &["report"],
    &["cli"],
];

/// Crates that give access to libtorch.
const TENSOR_CRATES: &[&str] = &["tch", "torch-sys", "torch-ext-sys"];

/// Workspace members that may depend on [`TENSOR_CRATES`].
const TENSOR_MEMBERS: &[&str] = &["moreline-worker", "torch-ext-sys"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&layer))
}

/// Every Rust file of the workspace that is its own (no build output).
fn workspace_sources() -> Vec<SourceFile> {
    ["src", "tests", "crates"]
        .iter()
        .flat_map(|folder| source::read_all(root(), folder))
        .collect()
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn imports_point_to_lower_layers_only() {
    let found: Vec<String> = source::read_all(root(), "src")
        .iter()
        .flat_map(upward_imports)
        .collect();
    assert_none("imports against the order of the layers", &found);
}

/// The imports of one file of `src/` that its layer may not make.
fn upward_imports(file: &SourceFile) -> Vec<String> {
    let Some(layer) = file.layer() else {
        return Vec::new();
    };
    let Some(own) = rank(&layer) else {
        return vec![format!(
            "{}: `{layer}` is not a layer: give it its place in LAYERS (tests/layers/mod.rs) and ARCHITECTURE.md",
            file.path.display()
        )];
    };
    file.crate_imports()
        .into_iter()
        .filter(|import| rank(&import.name).is_some_and(|other| other > own))
        .map(|import| {
            let place = file.place(import.line);
            format!(
                "{place}: `{layer}` imports `{}`, which is above it",
                import.name
            )
        })
        .collect()
}

#[test]
fn only_the_worker_depends_on_libtorch() {
    let lock = Lock::read(&root().join("Cargo.lock"));
    let members = lock.members();
    assert!(
        members.contains(&"moreline".to_owned()),
        "members: {members:?}"
    );
    let found: Vec<String> = members
        .iter()
        .filter(|member| !TENSOR_MEMBERS.contains(&member.as_str()))
        .flat_map(|member| {
            TENSOR_CRATES
                .iter()
                .filter_map(|name| lock.chain(member, name))
        })
        .map(|chain| format!("Cargo.lock: {}", chain.join(" -> ")))
        .collect();
    assert_none("crates that must not link libtorch, but do", &found);

    let worker = lock.chain("moreline-worker", "tch");
    assert!(
        worker.is_some(),
        "the worker no longer reaches tch: is this test still looking at the right crates?"
    );
}

#[test]
fn tensors_stay_in_the_worker() {
    let words = ["tch", "torch_sys", "torch_ext_sys"];
    let found: Vec<String> = workspace_sources()
        .iter()
        .filter(|file| {
            !TENSOR_MEMBERS
                .iter()
                .any(|member| file.is_in(&format!("crates/{member}")))
        })
        .flat_map(|file| words.iter().flat_map(|word| file.paths_from(word)))
        .collect();
    assert_none("libtorch used outside the worker", &found);
}

#[test]
fn unsafe_stays_in_the_ffi_crate() {
    let found: Vec<String> = workspace_sources()
        .iter()
        .filter(|file| !file.is_in("crates/torch-ext-sys"))
        .flat_map(|file| file.words("unsafe"))
        .collect();
    assert_none("`unsafe` outside crates/torch-ext-sys", &found);
}

/// A source as if it were the file at `path`, for the tests of the scanner.
fn sample(path: &str, text: &str) -> SourceFile {
    SourceFile::new(PathBuf::from(path), text)
}

#[test]
fn the_scanner_sees_what_it_should() {
    let file = sample(
        "src/plan/node.rs",
        "use crate::{config::{self, Stage}, engine::Run, store};\n\
         // use crate::cli::Args;\n\
         /* crate::cli */ fn f() { crate::report::html(\"crate::cli\"); }\n\
         use super::super::judge::Judge;\n\
         use super::cli;\n",
    );
    let found = upward_imports(&file);
    let expected = [
        "src/plan/node.rs:1: `plan` imports `engine`, which is above it",
        "src/plan/node.rs:1: `plan` imports `store`, which is above it",
        "src/plan/node.rs:3: `plan` imports `report`, which is above it",
        "src/plan/node.rs:4: `plan` imports `judge`, which is above it",
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_scanner_wants_every_module_in_a_layer() {
    let found = upward_imports(&sample("src/helpers.rs", ""));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("src/helpers.rs: `helpers` is not a layer"),
        "{}",
        found[0]
    );
    assert!(upward_imports(&sample("src/main.rs", "use crate::cli;")).is_empty());
}

#[test]
fn the_scanner_tells_code_from_text() {
    let text = "let a = '\"'; let s = r#\"unsafe \" tch::\"#; let l: &'static str = \"\\\" unsafe\";\n\
                /* a /* nested */ unsafe */ #![deny(unsafe_code)]\n\
                unsafe { tch::Tensor::new() } // unsafe\n\
                let b = b'\\''; use ::tch::nn; let c = batch::new(); /// tch::\n";
    let file = sample("src/digest.rs", text);
    assert_eq!(
        file.words("unsafe"),
        ["src/digest.rs:3: unsafe { tch::Tensor::new() } // unsafe"]
    );
    let lines: Vec<String> = file
        .paths_from("tch")
        .iter()
        .map(|found| found[..15].to_owned())
        .collect();
    assert_eq!(lines, ["src/digest.rs:3", "src/digest.rs:4"]);
}
