use super::*;
use crate::evaluate::columns::add_pairs;

fn spec(bins: Value) -> EvaluateReward {
    serde_json::from_value(json!({"model": "rm", "data": "d", "bins": bins})).unwrap()
}

fn record(scores: &[f64], rewards: &[f64], tokens: &[u64]) -> EvaluationRow {
    let mut record = EvaluationRow {
        set: "d".into(),
        scores: scores.to_vec(),
        rewards: rewards.to_vec(),
        tokens: tokens.to_vec(),
        ..EvaluationRow::default()
    };
    add_pairs(&mut record).unwrap();
    record
}

fn measured(rows: &[EvaluationRow], bins: Value) -> Value {
    let rows: Vec<&EvaluationRow> = rows.iter().collect();
    of_set("d", &rows, &spec(bins)).unwrap()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn close(value: &Value, wanted: f64) {
    let found = value.as_f64().unwrap_or_else(|| panic!("{value}"));
    assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
}

/// Every path of a null: the engine refuses metrics that have one.
fn nulls(value: &Value) -> usize {
    match value {
        Value::Null => 1,
        Value::Array(items) => items.iter().map(nulls).sum(),
        Value::Object(members) if members.get("count") == Some(&json!(0)) => 0,
        Value::Object(members) => members.values().map(nulls).sum(),
        _ => 0,
    }
}

#[test]
fn figures_by_hand() {
    // Margins 2 (right) and -1 (wrong); the tie is counted, not judged.
    let rows = [
        record(&[1.0, 0.0], &[2.0, 0.0], &[3, 3]),
        record(&[-3.0, -1.0], &[1.0, 0.0], &[3, 3]),
        record(&[5.0, 5.0], &[1.0, 0.0], &[3, 3]),
    ];
    let found = measured(&rows, json!(10));
    assert_eq!(found["pairs"], 2);
    assert_eq!(found["ties_skipped"], 1);
    assert_eq!(found["accuracy"], 0.5);
    close(
        &found["nll"],
        -(sigmoid(2.0).ln() + sigmoid(-1.0).ln()) / 2.0,
    );
    // Confidences .88 (right) and .73 (wrong) lie in bins of their own.
    close(&found["ece"], ((1.0 - sigmoid(2.0)) + sigmoid(1.0)) / 2.0);
    assert_eq!(found["mean_margin"], 0.5);
    assert_eq!(found["margins"]["median"], 0.5);
    close(&found["margins"]["sd"], 3.0 / 2f64.sqrt());
}

#[test]
fn ties_of_data_and_of_rewards_are_told_apart() {
    // Right, wrong, right, equal rewards; and two pairs of equal scores.
    let rows = [
        record(&[1.0, 0.0], &[2.0, 0.0], &[3, 3]),
        record(&[1.0, 0.0], &[0.0, 1.0], &[3, 3]),
        record(&[1.0, 0.0], &[1.0, 0.5], &[3, 3]),
        record(&[1.0, 0.0], &[1.0, 1.0], &[3, 3]),
        record(&[1.0, 1.0], &[1.0, 0.5], &[3, 3]),
        record(&[1.0, 1.0], &[1.0, 1.0], &[3, 3]),
    ];
    let found = measured(&rows, json!(10));
    assert_eq!(
        (&found["ties_skipped"], &found["reward_ties"]),
        (&json!(2), &json!(1))
    );
    close(&found["accuracy"], 2.5 / 4.0);
    close(&found["accuracy_decided"], 2.0 / 3.0);
    close(&found["accuracy_ties_half"], 3.5 / 6.0);
}

#[test]
fn every_number_of_bins_is_measured_and_the_first_is_the_main_one() {
    let margins = [2.0, -1.0, 0.3, 0.1, 4.0];
    let rows = margins.map(|m| record(&[1.0, 0.0], &[m, 0.0], &[3, 4]));
    let found = measured(&rows, json!([5, 10, 20]));
    let names: Vec<_> = found["calibration"].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 6, "{names:?}");
    for error in ["ece", "ace", "mce"] {
        assert_eq!(found[error], found["calibration"]["uniform-5"][error]);
    }
    let alone = measured(&rows, json!(20));
    assert_eq!(alone["ece"], found["calibration"]["uniform-20"]["ece"]);
    assert_eq!(
        alone["calibration"]["quantile-20"],
        found["calibration"]["quantile-20"]
    );
    // Five equal bins of [0, 1]: .52 and .57 (right) in (.4, .6]; .73 (wrong) in (.6, .8];
    // .88 and .98 (right) in (.8, 1].
    let bins = found["reliability"].as_array().unwrap();
    let counts: Vec<_> = bins
        .iter()
        .map(|bin| bin["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [0, 0, 2, 1, 2]);
    let ece =
        ((2.0 - sigmoid(0.1) - sigmoid(0.3)) + sigmoid(1.0) + (2.0 - sigmoid(2.0) - sigmoid(4.0)))
            / 5.0;
    close(&found["ece"], ece);
    // Wilson's interval of two of two: lower bound 2 / (2 + z^2).
    close(
        &bins[2]["accuracy_low"],
        2.0 / (2.0 + 1.959_963_984_540_054f64.powi(2)),
    );
    assert_eq!(bins[2]["accuracy_high"], 1.0);
    let quantiles = found["calibration"]["quantile-5"]["reliability"]
        .as_array()
        .unwrap();
    assert!(
        quantiles.iter().all(|bin| bin["count"] == 1),
        "{quantiles:?}"
    );
    assert_eq!(nulls(&found), 0);
}

#[test]
fn temperature_is_measured_on_records_it_was_not_fitted_on() {
    // 40 records of margins 2 (three of four right): T is near 2 / ln 3 on either half.
    let rows: Vec<_> = (0..40)
        .map(|i| {
            record(
                &[1.0, 0.0],
                &[if i % 4 == 0 { -2.0 } else { 2.0 }, 0.0],
                &[3, 3],
            )
        })
        .collect();
    let found = measured(&rows, json!(10));
    let (first, second) = (
        &found["temperature"]["first_half"],
        &found["temperature"]["second_half"],
    );
    assert_eq!(
        (&first["pairs"], &first["fitted_pairs"]),
        (&json!(20), &json!(20))
    );
    // m / T = ln(right / wrong) of the half it was fitted on.
    let wrong = |half: &Value| {
        let odds = (2.0 / half["temperature"].as_f64().unwrap()).exp();
        (20.0 / (1.0 + odds)).round()
    };
    assert_eq!(wrong(first) + wrong(second), 10.0);
    close(
        &found["temperature"]["nll_before"],
        found["nll"].as_f64().unwrap(),
    );
    close(
        &found["temperature"]["ece_before"],
        found["ece"].as_f64().unwrap(),
    );
    assert!(found["temperature"]["nll_after"].as_f64() < found["nll"].as_f64());
}

#[test]
fn length_bias_by_hand() {
    // The better is longer by -2, -1, 1, 2 tokens; the model always takes the longer.
    let rows = [(-2.0, [1, 3]), (-1.0, [1, 2]), (1.0, [2, 1]), (2.0, [3, 1])]
        .map(|(margin, tokens)| record(&[1.0, 0.0], &[margin, 0.0], &tokens));
    let found = &measured(&rows, json!(10))["length"];
    close(&found["longer_better"], 0.5);
    close(&found["longer_preferred"], 1.0);
    let quartiles = found["quartiles"].as_array().unwrap();
    let accuracies: Vec<_> = quartiles
        .iter()
        .map(|q| q["accuracy"].as_f64().unwrap())
        .collect();
    assert_eq!(accuracies, [0.0, 0.0, 1.0, 1.0]);
    assert_eq!(
        (&quartiles[0]["lower"], &quartiles[3]["upper"]),
        (&json!(-2.0), &json!(2.0))
    );
}

#[test]
fn several_models_are_told_apart() {
    let mut rows: Vec<_> = [1.0, 1.0, -1.0, 1.0]
        .map(|m| record(&[1.0, 0.0], &[m, 0.0], &[3, 3]))
        .into();
    let others = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]];
    for (row, other) in rows.iter_mut().zip(others) {
        row.models = [
            ("a".to_owned(), row.rewards.clone()),
            ("b".to_owned(), other.to_vec()),
        ]
        .into();
    }
    let found = measured(&rows, json!(10));
    close(&found["models"]["a"]["accuracy"], 0.75);
    close(&found["models"]["b"]["accuracy"], 0.5);
    // Agree on three of four; by chance .75 * .5 + .25 * .5 = .5.
    close(&found["agreement"]["a / b"]["share"], 0.75);
    close(&found["agreement"]["a / b"]["kappa"], 0.5);
}

#[test]
fn a_set_of_ties_or_of_nothing_is_an_error_not_a_zero() {
    let ties = record(&[5.0, 5.0], &[1.0, 0.0], &[3, 3]);
    let error = of_set("d", &[&ties], &spec(json!(10))).unwrap_err();
    assert!(error.to_string().contains("evaluate on `d`"), "{error}");
    assert!(of_set("d", &[], &spec(json!(10))).is_err());
}

#[test]
fn rewards_that_are_no_numbers_are_an_error_not_a_zero() {
    for bad in [f64::NAN, f64::INFINITY] {
        let mut row = record(&[1.0, 0.0], &[1.0, 0.0], &[3, 3]);
        row.rewards[0] = bad;
        assert!(add_pairs(&mut row).is_err());
        row.pairs[0].margin = bad;
        assert!(of_set("d", &[&row], &spec(json!(10))).is_err());
    }
}

#[test]
fn of_one_record_what_is_undefined_is_absent_or_labelled() {
    let found = measured(
        &[record(&[1.0, 0.0], &[2.0, 0.0], &[3, 3])],
        json!([5, 10, 20]),
    );
    assert_eq!(
        (&found["pairs"], &found["accuracy"]),
        (&json!(1), &json!(1.0))
    );
    // Confidence .88, right: a gap of .12, whatever the bins. Not 0.
    for bins in ["uniform-5", "uniform-10", "quantile-20"] {
        for error in ["ece", "ace", "mce"] {
            close(&found["calibration"][bins][error], 1.0 - sigmoid(2.0));
        }
    }
    assert!(found["margins"].get("sd").is_none());
    assert!(found.get("length_correlation").is_none());
    assert!(found["length"].get("longer_preferred").is_none());
    let reason = found["temperature"]["undetermined"].as_str().unwrap();
    assert!(reason.contains("at least 1 needed"), "{reason}");
    assert_eq!(nulls(&found), 0, "{found:#}");
}
