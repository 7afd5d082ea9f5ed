use std::path::Path;

use crate::config::{schema, site_schema};

fn committed(name: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schemas")
        .join(name);
    let text = std::fs::read_to_string(&path).expect("the committed schema");
    serde_json::from_str(&text).expect("valid JSON")
}

#[test]
fn the_committed_schemas_are_current() {
    let way_out = "run `moreline schema > schemas/experiment.schema.json` \
                   and `moreline schema --site > schemas/site.schema.json`";
    // Printing two schemas would bury the way out.
    assert!(schema() == committed("experiment.schema.json"), "{way_out}");
    assert!(site_schema() == committed("site.schema.json"), "{way_out}");
}
