//! Inner products of the tasks' gradients.

use super::error::ObjectiveError;

/// The matrix of inner products of K gradients: K x K, symmetric, finite, K >= 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Gram {
    size: usize,
    values: Vec<f64>,
}

/// The Gram matrix of K gradients of equal length.
///
/// # Errors
/// No gradients, different lengths, or inner products that are not finite.
pub fn gram<G: AsRef<[f64]>>(grads: &[G]) -> Result<Gram, ObjectiveError> {
    let grads: Vec<&[f64]> = grads.iter().map(AsRef::as_ref).collect();
    let size = grads.len();
    let wanted = grads.first().map_or(0, |grad| grad.len());
    if let Some(index) = grads.iter().position(|grad| grad.len() != wanted) {
        let got = grads[index].len();
        return Err(ObjectiveError::Shape {
            what: "gradient",
            index,
            got,
            wanted,
        });
    }
    let mut values = vec![0.0; size * size];
    for i in 0..size {
        for first in (0..=i).step_by(LANES) {
            let own = &grads[first..(first + LANES).min(i + 1)];
            for (j, product) in (first..).zip(products(grads[i], own)).take(own.len()) {
                values[i * size + j] = product;
                values[j * size + i] = product;
            }
        }
    }
    Gram::new(values, size)
}

/// Inner products computed at a time.
const LANES: usize = 4;

/// The inner products of `one` with up to four others. Each is summed in the order of its
/// entries, as it would be by itself; side by side they do not wait for each other.
fn products(one: &[f64], others: &[&[f64]]) -> [f64; LANES] {
    let other = |lane: usize| others.get(lane).copied().unwrap_or(one);
    let (a, b, c, d) = (other(0), other(1), other(2), other(3));
    let mut sums = [-0.0; LANES];
    for ((((x, a), b), c), d) in one.iter().zip(a).zip(b).zip(c).zip(d) {
        sums[0] += x * a;
        sums[1] += x * b;
        sums[2] += x * c;
        sums[3] += x * d;
    }
    sums
}

impl Gram {
    /// Takes K x K inner products in row order; the two triangles are averaged.
    ///
    /// # Errors
    /// A size of zero, a count of values other than K squared, or a value that is not finite.
    pub fn new(mut values: Vec<f64>, size: usize) -> Result<Self, ObjectiveError> {
        if size == 0 {
            return Err(ObjectiveError::NoTasks);
        }
        if size.checked_mul(size) != Some(values.len()) {
            let (got, wanted) = (values.len(), size.saturating_mul(size));
            return Err(ObjectiveError::Shape {
                what: "Gram matrix",
                index: 0,
                got,
                wanted,
            });
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let task = index / size;
            return Err(ObjectiveError::NotFinite {
                what: "gradient",
                task,
            });
        }
        for i in 0..size {
            for j in 0..i {
                let mean = 0.5 * values[i * size + j] + 0.5 * values[j * size + i];
                values[i * size + j] = mean;
                values[j * size + i] = mean;
            }
        }
        Ok(Self { size, values })
    }

    /// The number of tasks, K.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The inner product of gradients `i` and `j`; both below [`Gram::size`].
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.size + j]
    }

    /// The norm of every gradient `[K]`.
    pub fn norms(&self) -> Vec<f64> {
        (0..self.size)
            .map(|i| self.at(i, i).max(0.0).sqrt())
            .collect()
    }

    /// The inner product of every gradient with the combination weighted by `lambda` `[K]`.
    pub fn products(&self, lambda: &[f64]) -> Vec<f64> {
        let row = |i| (0..self.size).map(|j| self.at(i, j) * lambda[j]).sum();
        (0..self.size).map(row).collect()
    }

    /// The squared norm of the combination weighted by `lambda` `[K]`, never negative.
    pub fn squared_norm(&self, lambda: &[f64]) -> f64 {
        let sum: f64 = self
            .products(lambda)
            .iter()
            .zip(lambda)
            .map(|(p, l)| p * l)
            .sum();
        sum.max(0.0)
    }

    /// The Gram matrix of the gradients each divided by its `denominators` `[K]` entry.
    ///
    /// # Errors
    /// A quotient that is not finite.
    pub fn divided(&self, denominators: &[f64]) -> Result<Self, ObjectiveError> {
        if denominators.len() != self.size {
            let (got, wanted) = (denominators.len(), self.size);
            return Err(ObjectiveError::Shape {
                what: "denominators",
                index: 0,
                got,
                wanted,
            });
        }
        let divide =
            |k: usize| self.values[k] / denominators[k / self.size] / denominators[k % self.size];
        Self::new((0..self.values.len()).map(divide).collect(), self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_vectors() {
        let found = gram(&[vec![1.0, 2.0], vec![3.0, -1.0]]).unwrap();
        assert_eq!(
            (found.at(0, 0), found.at(0, 1), found.at(1, 1)),
            (5.0, 1.0, 10.0)
        );
        assert_eq!(found.products(&[0.5, 0.5]), [3.0, 5.5]);
        assert_eq!(found.squared_norm(&[0.5, 0.5]), 4.25);
        let divided = found.divided(&[2.0, 4.0]).unwrap();
        assert_eq!(divided, gram(&[vec![0.5, 1.0], vec![0.75, -0.25]]).unwrap());
    }

    #[test]
    fn products_side_by_side_are_summed_as_one_at_a_time() {
        let value = |k: usize, i: usize| ((k * 7919 + i * 104_729) % 1000) as f64 / 7.0 - 60.0;
        let grads: Vec<Vec<f64>> = (0..11)
            .map(|k| (0..37).map(|i| value(k, i)).collect())
            .collect();
        let found = gram(&grads).unwrap();
        for (i, a) in grads.iter().enumerate() {
            for (j, b) in grads.iter().enumerate() {
                let one: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert_eq!(found.at(i, j).to_bits(), one.to_bits(), "{i} {j}");
            }
        }
    }

    #[test]
    fn bad_input_is_an_error() {
        assert_eq!(gram::<Vec<f64>>(&[]), Err(ObjectiveError::NoTasks));
        assert!(matches!(
            gram(&[vec![1.0], vec![]]),
            Err(ObjectiveError::Shape { index: 1, .. })
        ));
        let nan = gram(&[vec![1.0], vec![f64::NAN]]);
        assert!(matches!(nan, Err(ObjectiveError::NotFinite { .. })));
        assert!(matches!(
            gram(&[vec![1e200]]),
            Err(ObjectiveError::NotFinite { .. })
        ));
        assert!(Gram::new(vec![1.0; 3], 2).is_err());
        assert!(gram(&[vec![1.0]]).unwrap().divided(&[]).is_err());
    }
}
