//! The JSON schemas against a validator that is not ours, and against what the
//! program itself accepts.
//!
//! `valid` is accepted by both, `invalid` refused by both, `beyond` only by the
//! program: a schema knows nothing of names in other tables.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use moreline::config::{self, LoadOptions};
use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &str) -> Vec<PathBuf> {
    let directory = root().join(directory);
    let entries = std::fs::read_dir(&directory)
        .expect("a directory")
        .flatten();
    let toml = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(toml).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", directory.display());
    files
}

/// The committed schema, as editors read it.
fn validator(name: &str) -> Validator {
    let path = root().join("schemas").join(name);
    let text = std::fs::read_to_string(path).expect("the schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    jsonschema::draft202012::meta::validate(&schema).expect("a valid schema");
    jsonschema::validator_for(&schema).expect("a schema that can be used")
}

fn document(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("text");
    let table: toml::Table = text.parse().expect("TOML");
    serde_json::to_value(table).expect("JSON")
}

fn accepted(path: &Path) -> Result<(), String> {
    let loaded = config::load(path, &LoadOptions::default());
    loaded.map(drop).map_err(|errors| errors.render(100, false))
}

fn site_accepted(path: &Path) -> Result<(), String> {
    let read = config::read_site(path);
    read.map(drop).map_err(|errors| errors.render(100, false))
}

#[test]
fn what_is_right_is_valid() {
    let schema = validator("experiment.schema.json");
    for path in [files("experiments"), files("tests/schema/valid")].concat() {
        accepted(&path).unwrap_or_else(|error| panic!("{error}"));
        let verdict = schema
            .validate(&document(&path))
            .map_err(|error| error.to_string());
        assert_eq!(verdict, Ok(()), "{}", path.display());
    }
}

#[test]
fn what_a_schema_can_tell_is_refused_by_both() {
    let schema = validator("experiment.schema.json");
    for path in files("tests/schema/invalid") {
        assert!(accepted(&path).is_err(), "{}", path.display());
        assert!(!schema.is_valid(&document(&path)), "{}", path.display());
    }
}

#[test]
fn what_it_cannot_tell_is_refused_by_the_program() {
    let schema = validator("experiment.schema.json");
    for path in files("tests/schema/beyond") {
        assert!(accepted(&path).is_err(), "{}", path.display());
        assert!(schema.is_valid(&document(&path)), "{}", path.display());
    }
}

#[test]
fn site_files_too() {
    let schema = validator("site.schema.json");
    for path in files("tests/schema/site/valid") {
        site_accepted(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(schema.is_valid(&document(&path)), "{}", path.display());
    }
    for path in files("tests/schema/site/invalid") {
        assert!(site_accepted(&path).is_err(), "{}", path.display());
        assert!(!schema.is_valid(&document(&path)), "{}", path.display());
    }
}

/// Values of every type, to stand where they do not belong.
fn intruders() -> Vec<Value> {
    vec![
        json!(true),
        json!(-1),
        json!(0),
        json!(3),
        json!(0.5),
        json!("zzz"),
        json!(""),
        json!([]),
        json!([1]),
        json!(["one"]),
        json!({}),
        json!({"zzz": 1}),
    ]
}

/// Pointers to everything in a value.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let step = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    let mut visit = |key: &str, inner: &Value| {
        found.push(step(key));
        places(inner, &step(key), found);
    };
    match value {
        Value::Object(entries) => entries.iter().for_each(|(key, inner)| visit(key, inner)),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, inner)| visit(&index.to_string(), inner));
        }
        _ => {}
    }
}

/// Whatever the program accepts, an editor must not underline: every value of
/// the valid files is replaced by one of every type, in turn.
#[test]
fn nothing_accepted_is_invalid() {
    let schema = validator("experiment.schema.json");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a.toml");
    let (mut tried, mut refused) = (0, 0);
    for path in files("tests/schema/valid") {
        let whole = document(&path);
        let mut found = Vec::new();
        places(&whole, "", &mut found);
        for place in found {
            for intruder in intruders() {
                let mut changed = whole.clone();
                *changed.pointer_mut(&place).expect("a place") = intruder.clone();
                let text = toml::to_string(&changed).expect("TOML");
                std::fs::write(&file, &text).expect("a file");
                tried += 1;
                if accepted(&file).is_err() {
                    refused += 1;
                } else {
                    let valid = schema.is_valid(&changed);
                    assert!(valid, "{}: {place} = {intruder}\n{text}", path.display());
                }
            }
        }
    }
    assert!(
        refused > tried / 2 && refused < tried,
        "{refused} of {tried}"
    );
}
