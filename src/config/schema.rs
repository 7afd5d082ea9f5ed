//! JSON schemas of the experiment file and the site file, for editors.

use moreline_protocol::spec::StageKind;
use serde_json::{Map, Value, json};

use super::kinds::{ModelTable, RowsTable, of_kind, schema_of};
use super::site::Site;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Names of models, sets, variables and stages.
const NAME: &str = "^[A-Za-z0-9_-]{1,64}$";
/// A string that is exactly one reference takes any type.
const REFERENCE: &str = r"^\$\{(vars|matrix)\.[A-Za-z0-9_-]+\}$";

/// The JSON schema of an experiment file.
pub fn schema() -> Value {
    let kinds = StageKind::ALL;
    let mut stages: Vec<Value> = kinds.iter().map(|kind| stage(*kind)).collect();
    stages.push(of_some_kind());
    let defaults: Map<String, Value> = kinds
        .iter()
        .map(|kind| (kind.name().to_owned(), partial(of_kind(*kind))))
        .collect();
    let combinations = |description: &str| {
        json!({
            "description": description,
            "type": "array",
            "items": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": NAME},
                "additionalProperties": {"type": ["string", "number", "boolean"]},
            },
        })
    };
    let scalar = json!({"type": ["string", "number", "boolean"]});
    json!({
        "$schema": DIALECT,
        "title": "moreline experiment",
        "type": "object",
        "additionalProperties": false,
        "$defs": {
            "reference": {
                "description": "A variable's value.",
                "type": "string",
                "pattern": REFERENCE,
            },
        },
        "properties": {
            "extends": {
                "description": "Another experiment file, relative to this one; this file is laid over it.",
                "type": "string",
            },
            "title": {"description": "Title of the report.", "type": "string"},
            "vars": {
                "description": "Values for ${vars.NAME}; changed with --set vars.NAME=VALUE.",
                "type": "object",
                "propertyNames": {"pattern": NAME},
                "additionalProperties": {"type": ["string", "number", "boolean", "array", "object"]},
            },
            "matrix": {
                "description": "Lists of values for ${matrix.NAME}: stages that depend on one run once per value.",
                "type": "object",
                "propertyNames": {"pattern": NAME},
                "properties": {
                    "include": combinations("Values laid over the cells they do not contradict; cells of their own if they contradict all."),
                    "exclude": combinations("Cells to leave out: those that agree with all values of an entry."),
                },
                "additionalProperties": {"type": "array", "minItems": 1, "uniqueItems": true, "items": scalar},
            },
            "defaults": {
                "description": "Settings of every stage of a kind, unless it states its own.",
                "type": "object",
                "additionalProperties": false,
                "properties": defaults,
            },
            "model": named("Language models.", &partial(schema_of::<ModelTable>())),
            "data": named("Preference sets.", &partial(schema_of::<RowsTable>())),
            "prompts": named("Prompt sets.", &partial(schema_of::<RowsTable>())),
            "responses": named("Responses made elsewhere, scored or not.", &partial(schema_of::<RowsTable>())),
            "stage": named("Stages; what one refers to runs before it.", &json!({
                "type": "object",
                "oneOf": stages,
            })),
        },
        "if": {"not": {"required": ["extends"]}},
        "then": whole(),
    })
}

/// What every table states, unless the file it is laid over does.
fn whole() -> Value {
    let needs = |key: &str| json!({"additionalProperties": {"required": [key]}});
    json!({"properties": {
        "model": needs("source"),
        "data": needs("path"),
        "prompts": needs("path"),
        "responses": needs("path"),
        "stage": needs("kind"),
    }})
}

/// A stage of a file that is laid over another, which says what kind it is of.
fn of_some_kind() -> Value {
    let mut names: Vec<String> = StageKind::ALL
        .into_iter()
        .map(of_kind)
        .flat_map(|schema| {
            schema["properties"]
                .as_object()
                .cloned()
                .unwrap_or_default()
        })
        .map(|(name, _)| name)
        .collect();
    names.sort();
    names.dedup();
    json!({"not": {"required": ["kind"]}, "propertyNames": {"enum": names}})
}

/// The JSON schema of a site file.
pub fn site_schema() -> Value {
    let mut schema = schema_of::<Site>();
    schema["$schema"] = DIALECT.into();
    schema["title"] = "moreline site".into();
    schema
}

fn named(description: &str, table: &Value) -> Value {
    json!({
        "description": description,
        "type": "object",
        "propertyNames": {"pattern": NAME},
        "additionalProperties": table,
    })
}

fn stage(kind: StageKind) -> Value {
    let mut schema = with_references(of_kind(kind));
    schema["properties"]["kind"] = json!({"const": kind.name()});
    // What is required may come from [defaults].
    schema["required"] = json!(["kind"]);
    schema
}

/// A table that need not be complete.
fn partial(schema: Value) -> Value {
    let mut schema = with_references(schema);
    if let Some(object) = schema.as_object_mut() {
        object.remove("required");
    }
    schema
}

/// Lets every setting be a reference to a variable instead of a value.
fn with_references(mut schema: Value) -> Value {
    let properties = schema["properties"].as_object_mut();
    for property in properties.into_iter().flat_map(Map::values_mut) {
        if property["type"] == "string" {
            continue;
        }
        let mut plain = property.take();
        let mut outer = Map::new();
        if let Some(object) = plain.as_object_mut() {
            for key in ["description", "default"] {
                if let Some(value) = object.remove(key).filter(|value| !value.is_null()) {
                    outer.insert(key.to_owned(), value);
                }
            }
        }
        without_null(&mut plain);
        outer.insert(
            "anyOf".into(),
            json!([plain, {"$ref": "#/$defs/reference"}]),
        );
        *property = Value::Object(outer);
    }
    schema
}

/// TOML has no null: an absent setting is left out.
fn without_null(schema: &mut Value) {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(branches) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        branches.retain(|branch| branch["type"] != "null");
        if let [only] = branches.as_mut_slice() {
            *schema = only.take();
        }
    }
}
