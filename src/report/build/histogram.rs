//! Common bins for several samples of rewards.

use super::super::model::{Histogram, HistogramSeries};
use super::super::svg::nice_step;

/// A sample to draw.
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) values: Vec<f64>,
}

/// Histograms over common bins of a round width; `None` without any finite value.
pub(super) fn histogram(samples: Vec<Sample>, x_label: &str) -> Option<Histogram> {
    let all = || {
        samples
            .iter()
            .flat_map(|s| &s.values)
            .copied()
            .filter(|v| v.is_finite())
    };
    let low = all().reduce(f64::min)?;
    let high = all().reduce(f64::max)?;
    let largest = samples.iter().map(|s| s.values.len()).max().unwrap_or(0) as f64;
    // Twice the cube root of the sample (Rice's rule), within what can be read.
    let bins = (2.0 * largest.cbrt()).clamp(14.0, 40.0);
    let span = if high > low { high - low } else { 1.0 };
    let step = nice_step(span / bins);
    let first = (low / step).floor();
    let count = ((high / step).floor() - first) as usize + 1;
    let edges = (0..=count).map(|i| (first + i as f64) * step).collect();
    let series = samples.into_iter().map(|sample| {
        let mut counts = vec![0; count];
        let finite: Vec<_> = sample
            .values
            .into_iter()
            .filter(|v| v.is_finite())
            .collect();
        for value in &finite {
            let bin = ((value / step).floor() - first) as usize;
            counts[bin.min(count - 1)] += 1;
        }
        HistogramSeries {
            name: sample.name,
            colour: sample.colour,
            mean: finite.iter().sum::<f64>() / (finite.len().max(1)) as f64,
            counts,
        }
    });
    Some(Histogram {
        x_label: x_label.to_owned(),
        edges,
        series: series.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[f64]) -> Vec<Sample> {
        vec![Sample {
            name: "s".into(),
            colour: 0,
            values: values.to_vec(),
        }]
    }

    #[test]
    fn every_value_is_in_its_bin() {
        let values: Vec<_> = (0..1000).map(|i| f64::from(i) * 0.013 - 4.0).collect();
        let histogram = histogram(sample(&values), "reward").unwrap();
        let series = &histogram.series[0];
        assert_eq!(series.counts.iter().sum::<u64>(), 1000);
        assert_eq!(histogram.edges.len(), series.counts.len() + 1);
        for (i, count) in series.counts.iter().enumerate() {
            let within = |v: &&f64| **v >= histogram.edges[i] && **v < histogram.edges[i + 1];
            assert_eq!(
                values.iter().filter(within).count() as u64,
                *count,
                "bin {i}"
            );
        }
    }

    #[test]
    fn equal_and_infinite_values_are_no_trouble() {
        let same = histogram(sample(&[2.5; 5]), "reward").unwrap();
        assert_eq!(same.series[0].counts.iter().sum::<u64>(), 5);
        assert!(histogram(sample(&[f64::NAN]), "reward").is_none());
        let mixed = histogram(sample(&[1.0, f64::INFINITY, 2.0]), "reward").unwrap();
        assert_eq!(mixed.series[0].counts.iter().sum::<u64>(), 2);
    }
}
