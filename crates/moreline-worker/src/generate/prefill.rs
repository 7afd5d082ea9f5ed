//! The prompts' own forward pass: packed, each distinct prompt once.

use tch::Tensor;

use super::cache::Cache;
use crate::batch::{AttentionPlan, Group, Packed, micro};
use crate::model::LoadedModel;
use crate::model::layers::Attend;
use crate::network::hidden_with;

/// Prompt tokens computed at once. A constant, so that the numbers do not
/// depend on the machine's settings.
const PREFILL_TOKENS: usize = 4096;

/// Attends as the packed batch says and keeps keys and values.
struct Keeping<'a> {
    attention: &'a AttentionPlan,
    cache: &'a Cache,
    first: usize,
    index: Tensor,
}

impl Attend for Keeping<'_> {
    fn attend(&self, layer: usize, q_tnd: &Tensor, k_tkd: &Tensor, v_tkd: &Tensor) -> Tensor {
        self.cache
            .fill(layer, self.first, &self.index, k_tkd, v_tkd);
        self.attention.attend(layer, q_tnd, k_tkd, v_tkd)
    }
}

/// Fills `cache` with the prompts, `copies[p]` rows in a row for prompt p, and
/// returns for every row the last token's hidden state before the final norm,
/// `[R, H]`.
pub(super) fn prefill(
    model: &LoadedModel,
    prompts: &[&[u32]],
    copies: &[usize],
    cache: &Cache,
) -> Tensor {
    let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.len()).collect();
    let mut rows = Vec::new();
    let mut first = 0;
    for run in micro::cut(&lengths, PREFILL_TOKENS) {
        let groups: Vec<Group> = prompts[run.clone()]
            .iter()
            .map(|prompt| Group::unshared(&[prompt.to_vec()]))
            .collect();
        let packed = Packed::new(&groups, &model.decoder.config, model.kind(), model.device);
        let copies = &copies[run.clone()];
        let attention = Keeping {
            attention: &packed.attention,
            cache,
            first,
            index: tensor(
                cells(&packed, &lengths[run.clone()], copies, cache.filled()),
                model,
            ),
        };
        let x = hidden_with(&model.decoder, &model.flats, &packed, &attention);
        let last = (0..groups.len()).map(|g| packed.index(g, 0, lengths[run.start + g] - 1));
        let last = last
            .zip(copies)
            .flat_map(|(index, &n)| std::iter::repeat_n(index, n));
        rows.push(x.index_select(0, &tensor(last.collect(), model)));
        first += copies.iter().sum::<usize>();
    }
    Tensor::cat(&rows, 0)
}

/// For every row and column the token in the packed batch: prompts aligned on
/// the right, their first token before them.
fn cells(packed: &Packed, lengths: &[usize], copies: &[usize], columns: i64) -> Vec<i64> {
    let mut cells = Vec::new();
    for (group, (&length, &n)) in lengths.iter().zip(copies).enumerate() {
        let padding = columns as usize - length;
        let row: Vec<i64> = std::iter::repeat_n(packed.index(group, 0, 0), padding)
            .chain(packed.indices(group, 0))
            .collect();
        cells.extend(std::iter::repeat_n(row, n).flatten());
    }
    cells
}

fn tensor(index: Vec<i64>, model: &LoadedModel) -> Tensor {
    Tensor::from_slice(&index).to_device(model.device)
}
