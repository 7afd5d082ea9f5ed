//! The whole report on a made-up but realistic experiment.

mod fixture;
mod markup;
mod view;

use std::fs;

use super::input::{ReportInput, ReportStage, StageStatus};
use super::{ReportPaths, write};
use fixture::{HOSTILE, experiment};

fn report(input: &ReportInput) -> (tempfile::TempDir, ReportPaths) {
    let dir = tempfile::tempdir().unwrap();
    let paths = write(input, dir.path()).unwrap();
    (dir, paths)
}

#[test]
fn markdown_is_as_recorded() {
    let files = tempfile::tempdir().unwrap();
    let (_dir, paths) = report(&experiment(files.path()));
    insta::assert_snapshot!(fs::read_to_string(paths.markdown).unwrap());
}

#[test]
fn json_is_as_recorded() {
    let files = tempfile::tempdir().unwrap();
    let mut input = experiment(files.path());
    let shown = ["rm:more", "eval:more", "judge:more"];
    input
        .stages
        .retain(|stage| shown.contains(&stage.name.as_str()));
    let (_dir, paths) = report(&input);
    insta::assert_snapshot!(fs::read_to_string(paths.json).unwrap());
}

#[test]
fn html_is_well_formed_and_self_contained() {
    let files = tempfile::tempdir().unwrap();
    let (_dir, paths) = report(&experiment(files.path()));
    let html = fs::read_to_string(paths.html).unwrap();
    let elements = markup::elements(&html).unwrap();
    for element in &elements {
        assert!(
            !["script", "iframe", "img", "link", "object", "use"].contains(&element.name.as_str())
        );
        for (name, value) in &element.attributes {
            assert!(!name.starts_with("on"), "{element:?}");
            assert!(
                !["src", "srcset", "xlink:href"].contains(&name.as_str()),
                "{element:?}"
            );
            assert!(name != "href" || value.starts_with('#'), "{element:?}");
        }
    }
    assert!(!html.contains("url("), "the style sheet refers to nothing");
    assert!(
        !html.contains("NaN") && !html.contains("inf,"),
        "no number is missing in a chart"
    );
    let ids = |name: &str| {
        let values = elements.iter().flat_map(|element| &element.attributes);
        values
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.trim_start_matches('#').to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("href"), ids("id"), "every section is linked to");
    // 1 graph, 1 accuracy, 5 margins, 10 reliability, 2 + 2 losses and weights of two
    // reward trainings and their overlay, 2 of one's held-out sets, 1 fine-tuning, 2 score, 2 select,
    // 2 judge histograms, 1 verdicts.
    let charts = elements
        .iter()
        .filter(|element| element.name == "svg")
        .count();
    assert_eq!(charts, 1 + 1 + 5 + 10 + 4 + 2 + 1 + 2 + 2 + 2 + 1);
}

#[test]
fn hostile_texts_stay_texts() {
    let files = tempfile::tempdir().unwrap();
    let mut input = experiment(files.path());
    input.title = HOSTILE.into();
    input.run.machine.push((HOSTILE.into(), HOSTILE.into()));
    for stage in &mut input.stages {
        stage
            .cell
            .iter_mut()
            .for_each(|(_, value)| value.push_str(HOSTILE));
        stage.name.push_str(HOSTILE);
    }
    input.stages[0].state = StageStatus::Failed;
    input.stages[0].error = Some(HOSTILE.into());
    let (_dir, paths) = report(&input);
    let html = fs::read_to_string(paths.html).unwrap();
    let names: Vec<_> = markup::elements(&html)
        .unwrap()
        .into_iter()
        .map(|e| e.name)
        .collect();
    assert!(
        !names.iter().any(|name| name == "script" || name == "b"),
        "{names:?}"
    );
    assert!(html.contains("&lt;script&gt;"));
    assert!(!html.contains('\u{202e}') && !html.contains('\0'));
    let markdown = fs::read_to_string(paths.markdown).unwrap();
    let outside = outside_fences(&markdown);
    assert!(
        !outside.contains("<script>") && !outside.contains("<b>"),
        "{outside}"
    );
}

/// The lines of a Markdown text that are in no fenced block.
fn outside_fences(markdown: &str) -> String {
    let mut fence: Option<usize> = None;
    let mut out = String::new();
    for line in markdown.lines() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        match fence {
            Some(open) if ticks >= open && line.len() == ticks => fence = None,
            Some(_) => {}
            None if ticks >= 3 => fence = Some(ticks),
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    assert!(fence.is_none(), "every fence is closed");
    out
}

#[test]
fn equal_results_give_equal_bytes_wherever_they_lie() {
    let places = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = places.each_ref().map(|files| {
        let (_dir, paths) = report(&experiment(files.path()));
        [paths.html, paths.markdown, paths.json].map(|path| fs::read(path).unwrap())
    });
    assert!(first == second);
}

#[test]
fn only_the_header_tells_time_and_machine() {
    let files = tempfile::tempdir().unwrap();
    let one = experiment(files.path());
    let mut other = one.clone();
    other.run.finished = Some("2031-01-01T00:00:00Z".into());
    other.run.wall_seconds = Some(7.0);
    other.run.machine = vec![("Host".into(), "elsewhere".into())];
    let body = |input: &ReportInput| {
        let (_dir, paths) = report(input);
        let html = fs::read_to_string(paths.html).unwrap();
        let markdown = fs::read_to_string(paths.markdown).unwrap();
        let after = |text: &str, mark: &str| text.split_once(mark).unwrap().1.to_owned();
        (after(&html, "</dl>"), after(&markdown, "\n\n- **"))
    };
    assert_eq!(body(&one), body(&other));
}

#[test]
fn an_experiment_without_results_says_what_would_give_them() {
    let files = tempfile::tempdir().unwrap();
    let mut input = experiment(files.path());
    for stage in &mut input.stages {
        stage.state = StageStatus::Pending;
        stage.metrics.clear();
        stage.timings.clear();
        stage.outputs.clear();
        stage.digests.clear();
        stage.seconds = None;
        stage.fingerprint = None;
        stage.key = None;
    }
    let (_dir, paths) = report(&input);
    markup::elements(&fs::read_to_string(paths.html).unwrap()).unwrap();
    let markdown = fs::read_to_string(paths.markdown).unwrap();
    assert!(markdown.contains("No results of stages eval:uniform, eval:more (not run)."));
    input.stages.clear();
    let (_dir, paths) = report(&input);
    markup::elements(&fs::read_to_string(paths.html).unwrap()).unwrap();
    let markdown = fs::read_to_string(paths.markdown).unwrap();
    assert!(markdown.contains("a stage of kind evaluate-reward would give it"));
}

#[test]
fn stages_without_results_are_named_together_and_failures_one_by_one() {
    let files = tempfile::tempdir().unwrap();
    let mut input = experiment(files.path());
    let place = input
        .stages
        .iter()
        .position(|s| s.name == "eval:more")
        .unwrap();
    let stage = input.stages[place].clone();
    for number in 0..12 {
        input.stages.push(ReportStage {
            name: format!("extra:{number}"),
            state: StageStatus::Pending,
            ..stage.clone()
        });
    }
    input.stages[place].state = StageStatus::Failed;
    input.stages[place].error = Some("out of memory".into());
    let (_dir, paths) = report(&input);
    let markdown = fs::read_to_string(paths.markdown).unwrap();
    assert!(markdown.contains("No results of stage eval:more (failed: out of memory)."));
    let together = "No results of stages extra:0, extra:1, extra:2, extra:3, extra:4, extra:5, \
                    extra:6, extra:7 and 4 others (not run).";
    assert!(markdown.contains(together), "{markdown}");
}

#[test]
fn evaluations_that_differ_in_their_seed_alone_have_a_mean() {
    let files = tempfile::tempdir().unwrap();
    let mut input = experiment(files.path());
    let (_dir, paths) = report(&input);
    let markdown = fs::read_to_string(paths.markdown).unwrap();
    assert!(!markdown.contains("over seeds"));
    // Accuracies of the two methods on the first set: .81 and .79; here they are two seeds.
    for stage in &mut input.stages {
        if let Some(seed) = ["eval:uniform", "eval:more"]
            .iter()
            .position(|name| stage.name == *name)
        {
            let method = ("method".to_owned(), "either".to_owned());
            stage.cell = vec![method, ("seed".to_owned(), seed.to_string())];
        }
    }
    let (_dir, paths) = report(&input);
    let markdown = fs::read_to_string(paths.markdown).unwrap();
    let row = markdown
        .lines()
        .find(|line| line.starts_with("| eval:either | 2 |"));
    // Half-width of two values: 12.7062 |a - b| / 2.
    assert!(
        row.unwrap().contains(r"| 80.0 % \[67.3, 92.7\] |"),
        "{markdown}"
    );
    let html = fs::read_to_string(paths.html).unwrap();
    markup::elements(&html).unwrap();
    assert!(html.contains("ECE, mean over sets"));
}

/// Comparisons in `results.json`.
fn comparisons(input: &ReportInput) -> Vec<serde_json::Value> {
    let (_dir, paths) = report(input);
    let results: serde_json::Value =
        serde_json::from_slice(&fs::read(paths.json).unwrap()).unwrap();
    results["comparisons"].as_array().unwrap().clone()
}

#[test]
fn evaluations_of_the_same_records_are_compared() {
    let files = tempfile::tempdir().unwrap();
    let mut input = experiment(files.path());
    let found = comparisons(&input);
    let sets: Vec<_> = found
        .iter()
        .map(|one| one["set"].as_str().unwrap())
        .collect();
    let mut wanted = fixture::SETS.to_vec();
    wanted.push("all sets");
    assert_eq!(sets, wanted);
    for one in &found {
        let number = |name: &str| one[name].as_f64().unwrap();
        let pairs = number("pairs");
        let difference = number("accuracy_a") - number("accuracy_b");
        assert!((number("difference") - difference).abs() < 1e-12);
        assert!((number("only_a") - number("only_b") - pairs * difference).abs() < 1e-9);
        // No rewards are equal: both agree but where only one is right.
        let apart = number("only_a") + number("only_b");
        assert!((number("agreement") - (1.0 - apart / pairs)).abs() < 1e-12);
        let p = moreline_stats::mcnemar::exact_p_value(
            number("only_a") as u64,
            number("only_b") as u64,
        );
        assert_eq!(number("mcnemar_p"), p);
        assert!(number("difference_low") <= difference && difference <= number("difference_high"));
        assert!((0.0..1.0).contains(&number("kappa")));
    }
    // The tie in the data is no pair.
    assert_eq!(
        (found[2]["pairs"].as_u64(), found[5]["pairs"].as_u64()),
        (Some(99), Some(499))
    );

    // Other bytes, or other rows, are other records.
    let stage = input
        .stages
        .iter_mut()
        .find(|s| s.name == "eval:more")
        .unwrap();
    stage.data[0].1 = "other bytes".into();
    assert_eq!(comparisons(&input).len(), 5);
    let stage = input
        .stages
        .iter_mut()
        .find(|s| s.name == "eval:more")
        .unwrap();
    stage.data.clear();
    assert!(comparisons(&input).is_empty());
}

#[test]
fn the_best_of_models_of_one_set_is_a_row_of_its_own() {
    let files = tempfile::tempdir().unwrap();
    let mut input = experiment(files.path());
    let (_dir, paths) = report(&input);
    assert!(!fs::read_to_string(paths.markdown).unwrap().contains("Top"));
    for stage in &mut input.stages {
        if let moreline_protocol::spec::StageSpec::TrainReward(spec) = &mut stage.spec {
            spec.data = moreline_protocol::spec::OneOrMany::One("helpful".into());
        }
    }
    let (_dir, paths) = report(&input);
    let markdown = fs::read_to_string(paths.markdown).unwrap();
    let row = markdown
        .lines()
        .find(|line| line.starts_with("| Top"))
        .unwrap();
    // Accuracies .81 and .79 on the first set, .66 and .77 on the second.
    assert!(row.contains("81.0 % (uniform) | 77.0 % (more) |"), "{row}");
}

#[test]
fn damaged_and_absent_records_are_named() {
    let files = tempfile::tempdir().unwrap();
    let input = experiment(files.path());
    let path = |stage: &str, output: &str| {
        let stage = input.stages.iter().find(|s| s.name == stage).unwrap();
        stage.outputs[output].clone()
    };
    fs::write(
        path("rm:more", "history.jsonl"),
        "{\"step\":1,\"loss\":0.7}\n{\"step\":",
    )
    .unwrap();
    fs::remove_file(path("judge:more", "verdicts.jsonl")).unwrap();
    fs::remove_file(path("eval:more", "records.jsonl")).unwrap();
    let (_dir, paths) = report(&input);
    let markdown = fs::read_to_string(paths.markdown).unwrap();
    assert!(
        markdown.contains(r"Output history.jsonl of stage rm:more could not be read: line 2"),
        "{markdown}"
    );
    assert!(markdown.contains("Output verdicts.jsonl of stage judge:more could not be read"));
    assert!(markdown.contains("Output records.jsonl of stage eval:more could not be read"));
    assert!(
        !markdown.contains(files.path().to_str().unwrap()),
        "no path of this machine"
    );
}

#[test]
fn metrics_of_the_wrong_form_do_no_harm() {
    let files = tempfile::tempdir().unwrap();
    let mut input = experiment(files.path());
    for stage in &mut input.stages {
        for value in stage.metrics.values_mut() {
            *value = serde_json::json!([{"n": "x"}, -1e308, null]);
        }
    }
    let (_dir, paths) = report(&input);
    markup::elements(&fs::read_to_string(paths.html).unwrap()).unwrap();
}
