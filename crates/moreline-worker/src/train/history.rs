//! The training history: one row per step, kept in checkpoints.

use moreline_protocol::rows::HistoryRow;

/// Means of a value over tenths of the steps (fewer if there are fewer steps).
pub(super) fn by_tenths(history: &[HistoryRow], key: &str) -> Vec<f64> {
    let values: Vec<f64> = history
        .iter()
        .filter_map(|row| row.values.get(key).copied())
        .collect();
    let parts = values.len().min(10);
    (0..parts)
        .map(|i| {
            let slice = &values[i * values.len() / parts..(i + 1) * values.len() / parts];
            slice.iter().sum::<f64>() / slice.len() as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_cover_every_step_once() {
        let step = |i: u64| HistoryRow {
            step: i,
            values: [("loss".to_owned(), i as f64)].into(),
        };
        let history: Vec<HistoryRow> = (0..20).map(step).collect();
        let tenths = by_tenths(&history, "loss");
        assert_eq!(tenths.len(), 10);
        assert_eq!((tenths[0], tenths[9]), (0.5, 18.5));
        assert_eq!(by_tenths(&history[..3], "loss"), [0.0, 1.0, 2.0]);
    }
}
