//! Global batches cut into micro-batches.

use std::ops::Range;

/// Cuts items of these sizes (tokens), in order, into runs of at most `budget`
/// tokens, filled evenly; an item over the budget gets a run of its own.
pub fn cut(sizes: &[usize], budget: usize) -> Vec<Range<usize>> {
    let total: usize = sizes.iter().sum();
    let runs = total.div_ceil(budget.max(1)).max(1);
    let target = total.div_ceil(runs);
    let mut cuts = Vec::new();
    let (mut start, mut filled) = (0, 0);
    for (i, &size) in sizes.iter().enumerate() {
        let over = filled + size > budget;
        let enough = filled + size / 2 > target;
        if i > start && (over || enough) {
            cuts.push(start..i);
            (start, filled) = (i, 0);
        }
        filled += size;
    }
    if start < sizes.len() {
        cuts.push(start..sizes.len());
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn runs_are_even_and_within_the_budget() {
        assert_eq!(cut(&[10; 10], 60), [0..5, 5..10]);
        assert_eq!(cut(&[10; 3], 100).as_slice(), std::slice::from_ref(&(0..3)));
        assert_eq!(cut(&[200, 10, 10], 100), [0..1, 1..3]);
        assert_eq!(cut(&[], 100), Vec::<std::ops::Range<usize>>::new());
    }

    #[test]
    fn every_item_is_in_exactly_one_run() {
        let sizes: Vec<usize> = (0..97).map(|i| 7 + (i * 37) % 61).collect();
        let cuts = cut(&sizes, 256);
        let covered: Vec<usize> = cuts.iter().cloned().flatten().collect();
        assert_eq!(covered, (0..97).collect::<Vec<_>>());
        for run in cuts {
            assert!(sizes[run].iter().sum::<usize>() <= 256);
        }
    }
}
