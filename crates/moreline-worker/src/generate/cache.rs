//! Keys and values of the tokens so far, for a batch of rows.
//!
//! Prompts are aligned on the right, so that the next token of every row goes
//! into the same column; a mask hides what lies before the shorter ones.
//!
//! Shape letters: R rows, K key and value heads, C columns, D head size, N
//! query heads.

use tch::Tensor;

use crate::model::LoadedModel;

/// Added to the scores of padding. Finite, so that a block of keys that is
/// nothing but padding yields no NaN before real keys outweigh it.
const HIDDEN: f32 = -1e30;

/// The cache of one batch.
#[derive(Debug)]
pub(super) struct Cache {
    /// Per layer `[R, K, C, D]`.
    keys_rkcd: Vec<Tensor>,
    /// Per layer `[R, K, C, D]`.
    values_rkcd: Vec<Tensor>,
    /// Additive, `[R, 1, 1, C]`; absent where no row is padded.
    mask: Option<Tensor>,
    /// Columns that hold tokens.
    filled: i64,
}

impl Cache {
    /// Room for rows whose prompts have these `lengths`, and for `more`
    /// tokens after them.
    pub(super) fn new(model: &LoadedModel, lengths: &[usize], more: usize) -> Self {
        let config = &model.decoder.config;
        let filled = lengths.iter().copied().max().unwrap_or(0);
        let capacity = filled + more;
        let shape = [lengths.len(), config.kv_heads, capacity, config.head_dim].map(|n| n as i64);
        let options = (model.kind(), model.device);
        let layers = || {
            (0..config.layers)
                .map(|_| Tensor::empty(shape, options))
                .collect()
        };
        Self {
            keys_rkcd: layers(),
            values_rkcd: layers(),
            mask: padding(lengths, filled, capacity)
                .map(|mask| mask.to_kind(model.kind()).to_device(model.device)),
            filled: filled as i64,
        }
    }

    /// Columns of the prompts, padding included.
    pub(super) fn filled(&self) -> i64 {
        self.filled
    }

    /// Puts keys and values `[T, K, D]` of a packed batch into the prompts'
    /// columns of layer `layer`, from row `first` on. `index` names for each
    /// cell, row by row, its token in the batch.
    pub(super) fn fill(
        &self,
        layer: usize,
        first: usize,
        index: &Tensor,
        k_tkd: &Tensor,
        v_tkd: &Tensor,
    ) {
        let rows = index.size()[0] / self.filled;
        let targets = [
            (&self.keys_rkcd[layer], k_tkd),
            (&self.values_rkcd[layer], v_tkd),
        ];
        for (target, source) in targets {
            let size = source.size();
            let cells = source.index_select(0, index);
            let cells = cells
                .view([rows, self.filled, size[1], size[2]])
                .transpose(1, 2);
            let mut target = target
                .narrow(0, first as i64, rows)
                .narrow(2, 0, self.filled);
            target.copy_(&cells);
        }
    }

    /// Writes the new token of every row, `k` and `v` `[R, K, D]`, into the
    /// next column and attends with `q` `[R, N, D]` over all columns so far:
    /// `[R, N * D]`.
    pub(super) fn attend(
        &self,
        layer: usize,
        q_rnd: &Tensor,
        k_rkd: &Tensor,
        v_rkd: &Tensor,
    ) -> Tensor {
        let columns = self.filled + 1;
        let put = |cache: &Tensor, new: &Tensor| {
            cache.narrow(2, self.filled, 1).copy_(&new.unsqueeze(2));
            cache.narrow(2, 0, columns)
        };
        let keys = put(&self.keys_rkcd[layer], k_rkd);
        let values = put(&self.values_rkcd[layer], v_rkd);
        let mask = self.mask.as_ref().map(|mask| mask.narrow(3, 0, columns));
        let (size, heads) = (q_rnd.size(), k_rkd.size()[1]);
        // The query heads that share a key head read the same keys: they are
        // queries of one product rather than heads of their own.
        let queries = q_rnd.reshape([size[0], heads, size[1] / heads, size[2]]);
        let attended = Tensor::scaled_dot_product_attention(
            &queries, &keys, &values, mask, 0.0, false, None, false,
        );
        attended.reshape([size[0], size[1] * size[2]])
    }

    /// Counts the column that [`Self::attend`] wrote in every layer.
    pub(super) fn advance(&mut self) {
        self.filled += 1;
    }

    /// Keeps the rows that `index` names, in its order.
    pub(super) fn keep(&mut self, index: &Tensor) {
        let filled = self.filled;
        for cache in self.keys_rkcd.iter_mut().chain(&mut self.values_rkcd) {
            let mut shape = cache.size();
            shape[0] = index.size()[0];
            let kept = Tensor::empty(shape.as_slice(), (cache.kind(), cache.device()));
            let cells = cache.narrow(2, 0, filled).index_select(0, index);
            kept.narrow(2, 0, filled).copy_(&cells);
            *cache = kept;
        }
        self.mask = self.mask.as_ref().map(|mask| mask.index_select(0, index));
    }
}

/// Hides the padding of rows with these prompt lengths: `[R, 1, 1, capacity]`.
fn padding(lengths: &[usize], columns: usize, capacity: usize) -> Option<Tensor> {
    if lengths.iter().all(|&length| length == columns) {
        return None;
    }
    let mut mask = vec![0.0f32; lengths.len() * capacity];
    for (row, length) in mask.chunks_mut(capacity).zip(lengths) {
        row[..columns - length].fill(HIDDEN);
    }
    let shape = [lengths.len() as i64, 1, 1, capacity as i64];
    Some(Tensor::from_slice(&mask).view(shape))
}
