//! The reward head: pooling by true length, final norm, one linear output.

use moreline_protocol::spec::Pooling;
use tch::{Kind, Tensor};

use crate::batch::Packed;
use crate::model::Decoder;

/// Where the rewards of a packed batch are read.
#[derive(Debug)]
pub struct PoolPlan {
    pooling: Pooling,
    /// Tokens read, sequence after sequence.
    index: Tensor,
    /// Tokens per sequence.
    counts: Vec<i64>,
}

impl PoolPlan {
    /// For all sequences of `groups` groups, whose lengths are `lengths[group]
    /// [sequence]`. `closed` says whether texts end with EOS.
    pub fn new(packed: &Packed, lengths: &[&[usize]], pooling: Pooling, closed: bool) -> Self {
        let mut index = Vec::new();
        let mut counts = Vec::new();
        for (group, lengths) in lengths.iter().enumerate() {
            for (sequence, &len) in lengths.iter().enumerate() {
                let before = index.len();
                match pooling {
                    // A text that is nothing but EOS has no token before it.
                    Pooling::Last => {
                        let back = if closed && len > 1 { 2 } else { 1 };
                        index.push(packed.index(group, sequence, len - back));
                    }
                    Pooling::Eos => index.push(packed.index(group, sequence, len - 1)),
                    Pooling::Mean | Pooling::Max => index.extend(packed.indices(group, sequence)),
                }
                counts.push((index.len() - before) as i64);
            }
        }
        let index = Tensor::from_slice(&index).to_device(packed.tokens_t.device());
        Self {
            pooling,
            index,
            counts,
        }
    }

    /// The pooled embeddings `[R, H]` in fp32 of the R sequences, from the last
    /// block's output `x` `[T, H]` and the fp32 parameters of the final norm.
    /// Differentiable in both.
    pub fn embeddings(&self, decoder: &Decoder, norm: &Tensor, x_th: &Tensor) -> Tensor {
        let rows = x_th.index_select(0, &self.index).to_kind(Kind::Float);
        let rows = decoder.norm(norm, &rows);
        match self.pooling {
            Pooling::Last | Pooling::Eos => rows,
            Pooling::Mean | Pooling::Max => {
                let pieces = rows.split_with_sizes(self.counts.as_slice(), 0);
                let pooled: Vec<Tensor> = pieces.iter().map(|piece| self.reduce(piece)).collect();
                Tensor::stack(&pooled, 0)
            }
        }
    }

    fn reduce(&self, piece_lh: &Tensor) -> Tensor {
        match self.pooling {
            Pooling::Max => piece_lh.amax([0i64].as_slice(), false),
            _ => piece_lh.mean_dim([0i64].as_slice(), false, Kind::Float),
        }
    }
}

/// Rewards `[R]` of pooled embeddings `[R, H]`, in fp32.
pub fn rewards(embeddings_rh: &Tensor, score: &Tensor) -> Tensor {
    embeddings_rh.matmul(&score.view([-1, 1])).squeeze_dim(1)
}

/// The values of each group, of which it has so many.
pub fn by_group(values: &[f64], counts: impl Iterator<Item = usize>) -> Vec<Vec<f64>> {
    let mut rest = values;
    let take = |count| {
        let (own, others) = rest.split_at(count);
        rest = others;
        own.to_vec()
    };
    counts.map(take).collect()
}

/// An fp32 tensor's elements as f64.
pub fn to_vec(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor
        .to_kind(Kind::Double)
        .to_device(tch::Device::Cpu)
        .contiguous()
        .view([-1]);
    let mut data = vec![0.0f64; flat.numel()];
    flat.copy_data(&mut data, flat.numel());
    data
}
