//! Every experiment that comes with the program is right, and points editors
//! at the schema.

use std::path::{Path, PathBuf};

use super::fixture::Toy;

fn experiments(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "outputs") {
            experiments(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_experiment_can_be_planned() {
    let mut found = Vec::new();
    experiments(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments"),
        &mut found,
    );
    let toy = Toy::new();
    toy.write("site.toml", "cache = \"cache\"\n");
    for path in found {
        let file = path.to_str().expect("UTF-8");
        if path.file_name().is_some_and(|name| name == "moreline.toml") {
            continue;
        }
        for smoke in [&[][..], &["--smoke"][..]] {
            let arguments = [&["plan", file, "--json", "--site", "site.toml"], smoke].concat();
            let said = toy.run(&arguments);
            assert_eq!(said.code, 0, "{file}\n{}", said.err);
        }
        let text = std::fs::read_to_string(&path).expect("text");
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("#:schema ") && first.ends_with("schemas/experiment.schema.json"),
            "{file}: the first line is not `#:schema ../schemas/experiment.schema.json`"
        );
    }
}

/// The paper's study can be planned by whoever has neither its models nor its
/// data: the plan says what is missing.
#[test]
fn the_papers_plan_says_what_is_missing() {
    let paper = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/paper");
    let mut found = Vec::new();
    experiments(&paper, &mut found);
    assert_eq!(found.len(), 5, "{found:?}");
    let toy = Toy::new();
    toy.write("site.toml", "cache = \"cache\"\n");
    for path in found {
        let file = path.to_str().expect("UTF-8");
        let somewhere = ["--set", "vars.data=nowhere", "--set", "vars.models=nowhere"];
        let plan = ["plan", file, "--site", "site.toml", "--json", "--exit-code"];
        let (plan, code) = toy.json(&[&plan[..], &somewhere].concat());
        assert_eq!(code, 2, "{file}");
        let stages = plan["stages"].as_array().expect("stages");
        let state = |name: &str| {
            let stage = stages.iter().find(|stage| stage["name"] == name);
            stage.unwrap_or_else(|| panic!("{file}: {name}")).clone()
        };
        // Two methods, a model for each of five sets, and their evaluations.
        assert!(stages.len() >= 14, "{file}: {}", stages.len());
        let reward = state("reward:more");
        assert_eq!(reward["state"], "missing-input", "{file}: {reward}");
        let why = reward["why"].as_str().expect("a reason");
        assert!(
            why.contains("nowhere/helpful.train.json does not exist"),
            "{why}"
        );
        assert_eq!(state("single:summ")["state"], "missing-input");
        let evaluated = state("evaluate:uniform");
        assert_eq!(evaluated["state"], "missing-input", "{evaluated}");
    }
}
