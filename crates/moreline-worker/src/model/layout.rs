//! Segments: the pieces of a model that training moves through one at a time.
//!
//! A segment's parameters are one flat tensor. Matrices that read the same
//! input lie next to each other, so that one view (`qkv`, `gate_up`) multiplies
//! them all at once, while files keep their separate names.

use tch::Tensor;

/// A tensor of a model file inside a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its Hugging Face name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
}

impl Part {
    /// Number of elements.
    pub fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// One view into a segment's flat tensor: parts stacked along their first
/// dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// Shape of the stack.
    pub shape: Vec<i64>,
}

impl View {
    /// A view of a single part.
    pub fn single(name: impl Into<String>, shape: &[i64]) -> Self {
        Self::stacked([(name.into(), shape.to_vec())])
    }

    /// A view of several parts that agree in all but the first dimension.
    pub fn stacked(parts: impl IntoIterator<Item = (String, Vec<i64>)>) -> Self {
        let parts: Vec<Part> = parts
            .into_iter()
            .map(|(name, shape)| Part { name, shape })
            .collect();
        let mut shape = parts[0].shape.clone();
        shape[0] = parts.iter().map(|part| part.shape[0]).sum();
        Self { parts, shape }
    }

    fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// The parameters of one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    /// Its views, in the order of the flat tensor.
    pub views: Vec<View>,
}

impl Segment {
    /// Elements of the flat tensor.
    pub fn numel(&self) -> i64 {
        self.views.iter().map(View::numel).sum()
    }

    /// The views of a flat tensor `[numel]`, in order; gradients of all of
    /// them come back as one tensor (`split_with_sizes` undone by one `cat`).
    pub fn split(&self, flat: &Tensor) -> Vec<Tensor> {
        let sizes: Vec<i64> = self.views.iter().map(View::numel).collect();
        flat.split_with_sizes(sizes, 0)
            .iter()
            .zip(&self.views)
            .map(|(piece, view)| piece.view(view.shape.as_slice()))
            .collect()
    }

    /// Every part with its offset in the flat tensor, in order.
    pub fn parts(&self) -> impl Iterator<Item = (i64, &Part)> {
        let mut offset = 0;
        self.views.iter().flat_map(|v| &v.parts).map(move |part| {
            let start = offset;
            offset += part.numel();
            (start, part)
        })
    }
}
