//! Graphs: edges, order, circles, and what is wrong with some.

use std::collections::BTreeMap;
use std::path::PathBuf;

use moreline_protocol::artifact::OutputName;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Dependency, Graph, GraphError, InputLabel};
use crate::config::{Experiment, ModelDecl, ModelSource, RowsDecl, StageDecl};

fn experiment(stages: &[(String, Value)]) -> Experiment {
    let rows = |path: &str| RowsDecl {
        path: PathBuf::from(path),
        ..RowsDecl::default()
    };
    let source = ModelSource::Path(PathBuf::from("/m"));
    let stage = |(name, spec): &(String, Value)| StageDecl {
        name: name.clone(),
        base: name.clone(),
        cell: Vec::new(),
        spec: serde_json::from_value(spec.clone()).unwrap(),
    };
    Experiment {
        path: PathBuf::from("/e.toml"),
        name: "e".into(),
        title: None,
        models: BTreeMap::from([("base".into(), ModelDecl { source })]),
        data: BTreeMap::from([("one".into(), rows("/1")), ("two".into(), rows("/2"))]),
        prompts: BTreeMap::from([("ask".into(), rows("/p"))]),
        responses: BTreeMap::new(),
        stages: stages.iter().map(stage).collect(),
        smoke: false,
    }
}

fn stage(name: &str, spec: Value) -> (String, Value) {
    (name.into(), spec)
}

fn sft(name: &str, model: &str, data: Value) -> (String, Value) {
    stage(name, json!({"kind": "sft", "model": model, "data": data}))
}

fn error(stages: &[(String, Value)]) -> GraphError {
    Graph::new(&experiment(stages)).unwrap_err()
}

#[test]
fn inputs_are_in_role_order_with_the_right_outputs() {
    let experiment = experiment(&[
        stage("pick", json!({"kind": "select", "responses": "scored"})),
        stage(
            "scored",
            json!({"kind": "score", "model": "rm", "responses": "gen"}),
        ),
        stage(
            "gen",
            json!({"kind": "generate", "model": "base", "prompts": "ask"}),
        ),
        stage(
            "rm",
            json!({"kind": "train-reward", "model": "base", "data": ["two", "one"]}),
        ),
    ]);
    let graph = Graph::new(&experiment).unwrap();
    assert_eq!(graph.order(), [2, 3, 1, 0]);
    let inputs: Vec<_> = graph.inputs(3).iter().map(|i| (i.role, i.name)).collect();
    assert_eq!(
        inputs,
        [("model", "base"), ("data", "two"), ("data", "one")]
    );
    let model = Dependency::Stage {
        index: 3,
        output: OutputName::Declared("model"),
    };
    assert_eq!(graph.inputs(1)[0].from, model);
    assert_eq!(graph.with_ancestors(&[1]), [false, true, true, true]);
}

#[test]
fn names_that_reach_results_are_keyed() {
    let experiment = experiment(&[
        stage("a", json!({"kind": "import", "data": "one"})),
        stage("b", json!({"kind": "import", "data": "two"})),
        stage(
            "rm",
            json!({"kind": "train-reward", "model": "base", "data": ["a", "b"]}),
        ),
        stage(
            "rm2",
            json!({"kind": "train-reward", "model": "base", "data": "a"}),
        ),
    ]);
    let graph = Graph::new(&experiment).unwrap();
    let labels = |index: usize| -> Vec<_> {
        graph
            .inputs(index)
            .iter()
            .map(|i| i.label.clone())
            .collect()
    };
    let named = |name: &str| InputLabel::Named(name.into());
    let fixed = |name: &str| InputLabel::Fixed(name.into());
    assert_eq!(labels(0), [named("one")]);
    assert_eq!(labels(2), [fixed("model"), named("a"), named("b")]);
    assert_eq!(labels(3), [fixed("model"), fixed("pairs")]);
}

#[test]
fn several_models_are_told_apart_and_one_has_no_name() {
    let train = json!({"kind": "train-reward", "model": "base", "data": "one", "save_every": 50});
    let score = |model: Value| json!({"kind": "score", "model": model, "responses": "gen"});
    let experiment = experiment(&[
        stage("a", train.clone()),
        stage("b", train),
        stage(
            "gen",
            json!({"kind": "generate", "model": "base", "prompts": "ask"}),
        ),
        stage("one", score(json!("a"))),
        stage("listed", score(json!(["a"]))),
        stage("both", score(json!(["a@step-50", "b"]))),
    ]);
    let graph = Graph::new(&experiment).unwrap();
    let labels = |index: usize| -> Vec<_> {
        let inputs = graph.inputs(index).iter();
        inputs.map(|input| input.label.clone()).collect()
    };
    let named = |name: &str| InputLabel::Named(name.into());
    let fixed = |name: &str| InputLabel::Fixed(name.into());
    assert_eq!(labels(3), [fixed("model"), fixed("responses")]);
    assert_eq!(labels(4), labels(3));
    let both = [named("a@step-50"), named("b"), fixed("responses")];
    assert_eq!(labels(5), both);
    assert_eq!(graph.wanted_steps(0), [50]);
    let upstream: std::collections::BTreeSet<_> = graph.upstream(5).collect();
    assert_eq!(upstream, [0, 1, 2].into());
    // What is in its default, and a list of one, is as if it was not written.
    let (one, listed) = (&experiment.stages[3].spec, &experiment.stages[4].spec);
    let key = |spec| crate::plan::stage_key(spec, &[]);
    assert_eq!(key(one), key(listed));
    assert!(!serde_json::to_string(one).unwrap().contains("combine"));
}

#[test]
fn a_step_of_a_training_is_an_edge_of_its_own() {
    let eval = |model: &str| json!({"kind": "evaluate-reward", "model": model, "data": "one"});
    let experiment = experiment(&[
        stage("late", eval("rm@step-100")),
        stage("early", eval("rm@step-50")),
        stage("last", eval("rm")),
        stage(
            "rm",
            json!({
                "kind": "train-reward", "model": "base", "data": "one", "save_every": 50,
                "evaluate_on": "two", "evaluate_limit": 5, "limit": 3,
            }),
        ),
    ]);
    let graph = Graph::new(&experiment).unwrap();
    assert_eq!(graph.wanted_steps(3), [50, 100]);
    assert_eq!(graph.upstream(0).collect::<Vec<_>>(), [3]);
    let input = &graph.inputs(0)[0];
    let from = Dependency::Stage {
        index: 3,
        output: OutputName::Step(100),
    };
    assert_eq!((input.name, input.from), ("rm", from));
    // What it is in the result does not depend on the step.
    assert_eq!(input.label, graph.inputs(2)[0].label);
    let rows = graph.inputs(3).iter().map(|i| (i.role, i.rows.limit));
    let expected = [("model", None), ("data", Some(3)), ("evaluate_on", Some(5))];
    assert!(rows.eq(expected));
}

#[test]
fn a_circle_is_told_with_every_member() {
    let circle = error(&[
        sft("a", "c", json!("ask")),
        sft("b", "a", json!("ask")),
        sft("c", "b", json!("ask")),
        sft("d", "c", json!("ask")),
    ]);
    let message = circle.to_string();
    assert_eq!(
        message,
        "stages depend on each other in a circle: c -> a -> b -> c"
    );
    let own = error(&[sft("a", "a", json!("ask"))]);
    assert_eq!(own, GraphError::Cycle(vec!["a".into(), "a".into()]));
}

#[test]
fn references_to_nothing_and_to_the_wrong_thing_are_told() {
    let unknown = error(&[sft("a", "nobody", json!("ask"))]).to_string();
    assert_eq!(
        unknown,
        "stage `a` refers to `nobody`, which the experiment does not define"
    );
    let wrong = error(&[
        stage(
            "gen",
            json!({"kind": "generate", "model": "base", "prompts": "ask"}),
        ),
        stage("s", json!({"kind": "select", "responses": "gen"})),
    ]);
    assert_eq!(
        wrong.to_string(),
        "stage `s` cannot take `gen` as its `responses`: it gives no scored responses"
    );
}

#[test]
fn chains_end_one_after_another() {
    let experiment = experiment(&[
        sft("a", "base", json!("ask")),
        sft("b", "base", json!("ask")),
        sft("a2", "a", json!("ask")),
        sft("b2", "b", json!("ask")),
        sft("a3", "a2", json!("ask")),
    ]);
    let graph = Graph::new(&experiment).unwrap();
    assert_eq!(graph.order(), [0, 1, 2, 3, 4]);
    assert_eq!(graph.chains(), [0, 2, 4, 1, 3]);
}

proptest! {
    /// Every stage takes the model of an earlier one, in shuffled file order.
    #[test]
    fn every_stage_comes_after_what_it_needs(
        parents in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
        places in Just(()).prop_perturb(|(), mut rng| rng.next_u64()),
    ) {
        let mut stages = vec![sft("s0", "base", json!("ask"))];
        for (index, parent) in parents.iter().enumerate() {
            let parent = format!("s{}", parent.index(index + 1));
            stages.push(sft(&format!("s{}", index + 1), &parent, json!("ask")));
        }
        let turn = places as usize % stages.len();
        stages.rotate_left(turn);
        let experiment = experiment(&stages);
        let graph = Graph::new(&experiment).unwrap();
        for order in [graph.order().to_vec(), graph.chains()] {
            let mut place = vec![usize::MAX; stages.len()];
            for (at, &index) in order.iter().enumerate() {
                place[index] = at;
            }
            prop_assert!(place.iter().all(|&at| at < stages.len()));
            for index in 0..stages.len() {
                for from in graph.upstream(index) {
                    prop_assert!(place[from] < place[index]);
                    prop_assert!(graph.downstream(from).any(|to| to == index));
                }
            }
        }
    }
}
