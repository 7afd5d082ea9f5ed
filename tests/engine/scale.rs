//! Ten thousand stages.

use moreline::engine;
use serde_json::json;

use super::fixture::{Fixture, stage};

/// A plan of this size is made in one pass: quadratic work would show as
/// minutes here.
#[test]
fn ten_thousand_stages_are_planned() {
    let mut fixture = Fixture::new();
    fixture.experiment.stages = (0..10_000)
        .map(|index| {
            let name = format!("s{index}");
            if index % 2 == 0 {
                let spec = json!({"kind": "train-reward", "model": "base", "data": "helpful", "seed": index});
                stage(&name, spec)
            } else {
                let model = format!("s{}", index - 1);
                stage(&name, json!({"kind": "evaluate-reward", "model": model, "data": "helpful"}))
            }
        })
        .collect();
    let plan = engine::plan(&fixture.experiment, &fixture.site).unwrap();
    let count = |state: &str| {
        plan.stages
            .iter()
            .filter(|s| s.state.name() == state)
            .count()
    };
    assert_eq!((count("run"), count("maybe")), (5000, 5000));
}

#[test]
fn a_long_chain_is_no_deep_recursion() {
    let mut fixture = Fixture::new();
    let mut stages = vec![stage(
        "s0",
        json!({"kind": "generate", "model": "base", "prompts": "questions"}),
    )];
    for index in 1..2_000 {
        let spec = json!({"kind": "sft", "model": "base", "data": "questions", "seed": index});
        stages.push(stage(&format!("s{index}"), spec));
        if index > 1 {
            let last = format!("s{}", index - 1);
            let mut spec = serde_json::to_value(&stages[index].spec).unwrap();
            spec["model"] = json!(last);
            stages[index].spec = serde_json::from_value(spec).unwrap();
        }
    }
    fixture.experiment.stages = stages;
    let plan = engine::plan(&fixture.experiment, &fixture.site).unwrap();
    assert_eq!(plan.stages[1999].why, "depends on s1998");
}
