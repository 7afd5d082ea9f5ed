//! One token for every row at a time.

use tch::{Kind, Tensor};

use super::cache::Cache;
use super::prefill::prefill;
use crate::model::layers::{Attend, Rotary};
use crate::model::{Decoder, LoadedModel};

/// Fewest rows decoded at once; fewer are filled up with copies of the last
/// one. Matrix kernels for very few rows add in another order, and a row's
/// numbers must not depend on its company.
pub(super) const FEWEST_ROWS: usize = 8;

/// A batch of rows being continued.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    model: &'a LoadedModel,
    cache: Cache,
    /// Of the next token, one per row, copies included.
    positions: Vec<i64>,
    /// Rows that are not copies.
    rows: usize,
    /// Of the last token before the final norm, `[R, H]`, copies included.
    hidden_rh: Tensor,
}

struct Step<'a>(&'a Cache);

impl Attend for Step<'_> {
    fn attend(&self, layer: usize, q_tnd: &Tensor, k_tkd: &Tensor, v_tkd: &Tensor) -> Tensor {
        self.0.attend(layer, q_tnd, k_tkd, v_tkd)
    }
}

impl<'a> Batch<'a> {
    /// Reads the prompts; row by row `owners` names the prompt, in ascending
    /// order and each at least once. At most `more` steps may follow.
    pub(super) fn start(
        model: &'a LoadedModel,
        prompts: &[&[u32]],
        owners: &[usize],
        more: usize,
    ) -> Self {
        let filled = filled_up(owners);
        let mut copies = vec![0; prompts.len()];
        for &owner in &filled {
            copies[owner] += 1;
        }
        let lengths: Vec<usize> = filled.iter().map(|&owner| prompts[owner].len()).collect();
        let cache = Cache::new(model, &lengths, more);
        let hidden_rh = prefill(model, prompts, &copies, &cache);
        let positions = lengths.iter().map(|&length| length as i64).collect();
        Self {
            model,
            cache,
            positions,
            rows: owners.len(),
            hidden_rh,
        }
    }

    /// Rows that are not copies.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Logits of the next token, `rows` times the vocabulary, in fp32 on the
    /// host.
    pub(super) fn logits(&self) -> Vec<f32> {
        let (decoder, flats) = (&self.model.decoder, &self.model.flats);
        let x = self.hidden_rh.to_kind(Kind::Float);
        let x = decoder
            .norm(&flats[decoder.norm_index()], &x)
            .to_kind(self.model.kind());
        let head = decoder.head_matrix(&flats[decoder.head_index()]);
        let logits = x
            .linear(&head, None::<Tensor>)
            .narrow(0, 0, self.rows as i64);
        let logits = logits
            .to_kind(Kind::Float)
            .to_device(tch::Device::Cpu)
            .contiguous();
        let mut host = vec![0.0f32; self.rows * decoder.config.vocab_size];
        logits.copy_data(&mut host, logits.numel());
        host
    }

    /// Continues every row with its token.
    pub(super) fn step(&mut self, tokens: &[u32]) {
        let decoder = &self.model.decoder;
        let tokens: Vec<i64> = filled_up(tokens).into_iter().map(i64::from).collect();
        let tokens = Tensor::from_slice(&tokens).to_device(self.model.device);
        let (kind, device) = (self.model.kind(), self.model.device);
        let rotary = Rotary::new(&decoder.config.rope, &self.positions, kind, device);
        let mut x = decoder.embed(&self.model.flats[0], &tokens);
        for layer in 0..decoder.config.layers {
            let flat = &self.model.flats[Decoder::FIRST_BLOCK + layer];
            x = decoder.block(layer, flat, &x, &rotary, &Step(&self.cache));
        }
        self.hidden_rh = x;
        self.cache.advance();
        self.positions
            .iter_mut()
            .for_each(|position| *position += 1);
    }

    /// Keeps only these rows, in this order.
    pub(super) fn keep(&mut self, rows: &[usize]) {
        self.rows = rows.len();
        let kept = filled_up(rows);
        self.positions = kept.iter().map(|&row| self.positions[row]).collect();
        let index: Vec<i64> = kept.iter().map(|&row| row as i64).collect();
        let index = Tensor::from_slice(&index).to_device(self.model.device);
        self.cache.keep(&index);
        self.hidden_rh = self.hidden_rh.index_select(0, &index);
    }
}

/// `rows`, continued with its last up to [`FEWEST_ROWS`].
fn filled_up<T: Copy>(rows: &[T]) -> Vec<T> {
    let mut filled = rows.to_vec();
    if let Some(&last) = rows.last() {
        filled.resize(rows.len().max(FEWEST_ROWS), last);
    }
    filled
}
