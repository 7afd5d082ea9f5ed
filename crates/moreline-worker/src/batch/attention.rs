//! Attention over a packed batch of token trees: each span attends to itself
//! causally and to its ancestors fully.
//!
//! On the CPU one kernel takes whole trees. Elsewhere spans of similar size are
//! padded into one call (padding exists there only, never in a linear layer);
//! one large masked row would be many times slower.

use tch::{Device, Kind, Tensor};

use crate::model::layers::{Attend, Heads, Rotary, attend_unfused};

/// A span of tokens in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// First token in the batch.
    pub start: usize,
    /// Number of tokens.
    pub len: usize,
    /// Place of the span it continues, before it in the list.
    pub parent: Option<usize>,
}

/// A span that attends: `len` queries at `start`, keys at the ancestors' tokens
/// and its own.
#[derive(Debug)]
struct Path {
    start: usize,
    len: usize,
    /// Ancestors as (start, length), root first.
    ancestors: Vec<(usize, usize)>,
}

impl Path {
    fn of(items: &[Item], item: &Item) -> Self {
        let parents = std::iter::successors(item.parent, |&parent| items[parent].parent);
        let mut ancestors: Vec<(usize, usize)> = parents
            .map(|parent| (items[parent].start, items[parent].len))
            .collect();
        ancestors.reverse();
        Self {
            start: item.start,
            len: item.len,
            ancestors,
        }
    }

    fn prefix(&self) -> usize {
        self.ancestors.iter().map(|(_, len)| len).sum()
    }

    fn keys(&self) -> usize {
        self.prefix() + self.len
    }
}

/// How the tokens of a packed batch attend. Implements [`Attend`] for training
/// and scoring; differentiable.
#[derive(Debug)]
pub enum AttentionPlan {
    /// By the CPU's kernel: spans `[S, 3]` as (start, length, parent or -1).
    Trees(Tensor),
    /// By batches of similar spans.
    Pieces(Pieces),
}

impl AttentionPlan {
    /// A plan for `items` that cover `tokens` tokens; masks in `kind`.
    pub fn new(items: &[Item], tokens: usize, kind: Kind, device: Device) -> Self {
        if device != Device::Cpu || !matches!(kind, Kind::Float | Kind::BFloat16) {
            return Self::Pieces(Pieces::new(items, tokens, kind, device));
        }
        let parent = |item: &Item| item.parent.map_or(-1, |parent| parent as i64);
        let row = |item: &Item| [item.start as i64, item.len as i64, parent(item)];
        let spans: Vec<i64> = items.iter().flat_map(row).collect();
        Self::Trees(Tensor::from_slice(&spans).view([-1, 3]))
    }
}

impl Attend for AttentionPlan {
    fn attend(&self, _layer: usize, q_tnd: &Tensor, k_tkd: &Tensor, v_tkd: &Tensor) -> Tensor {
        let heads = Heads {
            queries: q_tnd.size()[1],
            keys: k_tkd.size()[1],
            size: q_tnd.size()[2],
        };
        match self {
            Self::Trees(spans) => {
                let qkv = Tensor::cat(&[q_tnd, k_tkd, v_tkd], 1).flatten(1, 2);
                let none = Tensor::empty([0], (Kind::Float, Device::Cpu));
                trees(spans, &qkv, heads, (&none, &none, 0))
            }
            Self::Pieces(pieces) => pieces.attend(q_tnd, k_tkd, v_tkd, heads),
        }
    }

    fn attend_fused(&self, layer: usize, qkv: &Tensor, heads: Heads, rotary: &Rotary) -> Tensor {
        match self {
            Self::Trees(spans) => {
                let turned = (&rotary.cos_th, &rotary.sin_th, rotary.dims);
                trees(spans, qkv, heads, turned)
            }
            Self::Pieces(_) => attend_unfused(self, layer, qkv, heads, rotary),
        }
    }
}

fn trees(
    spans: &Tensor,
    qkv: &Tensor,
    heads: Heads,
    (cos, sin, rotated): (&Tensor, &Tensor, i64),
) -> Tensor {
    let plan = torch_ext_sys::TreePlan {
        cos,
        sin,
        spans,
        heads: [heads.queries, heads.keys, heads.size, rotated],
    };
    torch_ext_sys::tree_attention(qkv, &plan)
}

/// Padding allowed when a span joins a piece: this many query-key products
/// cost about as much as one more call, which on a GPU is the larger part.
fn free_padding(device: Device) -> usize {
    match device {
        Device::Cpu => 4096,
        _ => 1 << 19,
    }
}

/// Spans that attend in one call.
#[derive(Debug)]
struct Piece {
    batch: i64,
    queries: i64,
    keys: i64,
    /// Additive, `[batch, 1, queries, keys]`; absent for plain causal attention.
    mask: Option<Tensor>,
}

/// Spans in batches of similar shape.
#[derive(Debug)]
pub struct Pieces {
    pieces: Vec<Piece>,
    /// Token of each query row, piece after piece `[Q]`.
    query_index: Tensor,
    /// Token of each key row `[K]`.
    key_index: Tensor,
    /// Query row of each token `[T]`.
    query_row: Tensor,
}

impl Pieces {
    fn new(items: &[Item], tokens: usize, kind: Kind, device: Device) -> Self {
        let paths: Vec<Path> = items.iter().map(|item| Path::of(items, item)).collect();
        let mut rows = Rows::new(tokens);
        let pieces = similar(&paths, free_padding(device))
            .iter()
            .map(|members| rows.add(members, kind, device))
            .collect();
        let place = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        Self {
            pieces,
            query_index: place(&rows.query_index),
            key_index: place(&rows.key_index),
            query_row: place(&rows.query_row),
        }
    }

    fn attend(&self, q_tnd: &Tensor, k_tkd: &Tensor, v_tkd: &Tensor, heads: Heads) -> Tensor {
        let gather = |x: &Tensor, index: &Tensor, rows: fn(&Piece) -> i64| {
            let sizes: Vec<i64> = self.pieces.iter().map(|p| p.batch * rows(p)).collect();
            let rows = x.contiguous().index_select(0, index).flatten(1, 2);
            rows.split_with_sizes(sizes.as_slice(), 0)
        };
        let q = gather(q_tnd, &self.query_index, |piece| piece.queries);
        let k = gather(k_tkd, &self.key_index, |piece| piece.keys);
        let v = gather(v_tkd, &self.key_index, |piece| piece.keys);
        let outs: Vec<Tensor> = self
            .pieces
            .iter()
            .enumerate()
            .map(|(i, piece)| piece.attend(&q[i], &k[i], &v[i], heads))
            .collect();
        Tensor::cat(&outs, 0).index_select(0, &self.query_row)
    }
}

impl Piece {
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads) -> Tensor {
        let shaped = |x: &Tensor, rows: i64, heads_here: i64| {
            x.view([self.batch, rows, heads_here, heads.size])
                .transpose(1, 2)
        };
        // A GPU's kernels that take masks want as many key heads as query heads.
        let repeated = q.device() != Device::Cpu && heads.queries != heads.keys;
        let keyed = |x: &Tensor| {
            let x = shaped(x, self.keys, heads.keys);
            if repeated {
                x.repeat_interleave_self_int(heads.queries / heads.keys, 1, None)
            } else {
                x
            }
        };
        let out = Tensor::scaled_dot_product_attention(
            &shaped(q, self.queries, heads.queries),
            &keyed(k),
            &keyed(v),
            self.mask.as_ref(),
            0.0,
            self.mask.is_none(),
            None,
            heads.queries != heads.keys && !repeated,
        );
        out.transpose(1, 2)
            .reshape([self.batch * self.queries, heads.queries * heads.size])
    }
}

/// The rows of all pieces, as they are laid out.
struct Rows {
    query_index: Vec<i64>,
    key_index: Vec<i64>,
    query_row: Vec<i64>,
}

impl Rows {
    fn new(tokens: usize) -> Self {
        Self {
            query_index: Vec::new(),
            key_index: Vec::new(),
            query_row: vec![0; tokens],
        }
    }

    /// Rows, filled up to `len`. Nothing comes from the filling and no gradient
    /// goes to it, but it takes part in the sum over equal indices: a single
    /// token would make that long, and a GPU sums in order.
    fn padded(&self, rows: impl Iterator<Item = usize>, len: usize) -> Vec<i64> {
        let mut rows: Vec<i64> = rows.map(|row| row as i64).collect();
        let tokens = self.query_row.len() as i64;
        let first = rows.first().copied().unwrap_or(0);
        let filling = (rows.len()..len).map(|place| (first + place as i64) % tokens);
        rows.extend(filling);
        rows
    }

    fn add(&mut self, members: &[&Path], kind: Kind, device: Device) -> Piece {
        let queries = members.iter().map(|m| m.len).max().unwrap_or(0);
        let keys = members.iter().map(|m| m.keys()).max().unwrap_or(0);
        for member in members {
            let own = member.start..member.start + member.len;
            for token in own.clone() {
                self.query_row[token] = (self.query_index.len() + token - own.start) as i64;
            }
            self.query_index.extend(self.padded(own.clone(), queries));
            let ancestors = member
                .ancestors
                .iter()
                .flat_map(|&(start, len)| start..start + len);
            self.key_index
                .extend(self.padded(ancestors.chain(own), keys));
        }
        let plain = members
            .iter()
            .all(|m| m.ancestors.is_empty() && m.len == queries);
        Piece {
            batch: members.len() as i64,
            queries: queries as i64,
            keys: keys as i64,
            mask: (!plain).then(|| mask(members, queries, keys).to_kind(kind).to_device(device)),
        }
    }
}

/// Zero where a query may look, minus infinity elsewhere. Padding queries look
/// at the first key, so that no row is empty and no NaN appears in gradients.
fn mask(members: &[&Path], queries: usize, keys: usize) -> Tensor {
    let mut mask = vec![f32::NEG_INFINITY; members.len() * queries * keys];
    for (b, member) in members.iter().enumerate() {
        let prefix = member.prefix();
        for i in 0..queries {
            let row = (b * queries + i) * keys;
            let visible = if i < member.len { prefix + i + 1 } else { 1 };
            mask[row..row + visible].fill(0.0);
        }
    }
    let shape = [members.len(), 1, queries, keys].map(|n| n as i64);
    Tensor::from_slice(&mask).view(shape)
}

/// Paths in batches of similar shape: sorted by size, cut where padding would
/// cost more than another call, whose cost is that of `free` query-key products.
fn similar(paths: &[Path], free: usize) -> Vec<Vec<&Path>> {
    let mut sorted: Vec<&Path> = paths.iter().collect();
    sorted.sort_by_key(|path| (path.keys(), path.len, path.start));
    let mut batches: Vec<Vec<&Path>> = Vec::new();
    let (mut queries, mut keys) = (0, 0);
    for path in sorted {
        let joined = (queries.max(path.len), keys.max(path.keys()));
        if let Some(batch) = batches.last_mut() {
            let before = batch.len() * queries * keys;
            let after = (batch.len() + 1) * joined.0 * joined.1;
            let own = path.len * path.keys();
            if after - before - own <= free.max(own / 5) {
                batch.push(path);
                (queries, keys) = joined;
                continue;
            }
        }
        batches.push(vec![path]);
        (queries, keys) = (path.len, path.keys());
    }
    batches
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::{AttentionPlan, Item, Pieces};
    use crate::model::layers::Attend;

    /// A root, two spans after it, one after the second, and a root of its own.
    fn items() -> Vec<Item> {
        let spans = [
            (70, None),
            (33, Some(0)),
            (5, Some(0)),
            (130, Some(2)),
            (1, None),
        ];
        let mut start = 0;
        let item = |(len, parent)| {
            start += len;
            Item {
                start: start - len,
                len,
                parent,
            }
        };
        spans.into_iter().map(item).collect()
    }

    /// The result of `plan` and the gradients of queries, keys and values.
    fn run(plan: &AttentionPlan, inputs: &[Tensor; 3], grad: &Tensor) -> Vec<Tensor> {
        let leaves = inputs
            .each_ref()
            .map(|x| x.detach().set_requires_grad(true));
        let [q, k, v] = &leaves;
        let out = plan.attend(0, q, k, v);
        let grads = torch_ext_sys::grad(&[&out], &[grad], &[q, k, v]).unwrap();
        let grads = grads.into_iter().map(Option::unwrap);
        std::iter::once(out.detach()).chain(grads).collect()
    }

    #[test]
    fn the_kernel_for_trees_equals_padded_batches_of_spans() {
        tch::manual_seed(7);
        let items = items();
        let tokens: usize = items.iter().map(|item| item.len).sum();
        let options = (Kind::Float, Device::Cpu);
        for (queries, keys, size) in [(9, 3, 64), (4, 4, 80), (2, 1, 8)] {
            let random = |heads| Tensor::randn([tokens as i64, heads, size], options);
            let inputs = [random(queries), random(keys), random(keys)];
            let grad = Tensor::randn([tokens as i64, queries * size], options);
            let trees = AttentionPlan::new(&items, tokens, Kind::Float, Device::Cpu);
            assert!(matches!(trees, AttentionPlan::Trees(_)));
            let pieces = Pieces::new(&items, tokens, Kind::Float, Device::Cpu);
            let pieces = AttentionPlan::Pieces(pieces);
            let found = run(&trees, &inputs, &grad);
            let expected = run(&pieces, &inputs, &grad);
            for (found, expected) in found.iter().zip(&expected) {
                let error = (found - expected).abs().max().double_value(&[]);
                assert!(error < 1e-5, "{queries} heads of {size}: off by {error}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        tch::manual_seed(8);
        let items = items();
        let tokens: usize = items.iter().map(|item| item.len).sum();
        for kind in [Kind::Float, Kind::BFloat16] {
            let options = (Kind::Float, Device::Cpu);
            let random =
                |heads: i64| Tensor::randn([tokens as i64, heads, 16], options).to_kind(kind);
            let inputs = [random(6), random(2), random(2)];
            let grad = Tensor::randn([tokens as i64, 96], options).to_kind(kind);
            let plan = AttentionPlan::new(&items, tokens, kind, Device::Cpu);
            let threads = tch::get_num_threads();
            let many = run(&plan, &inputs, &grad);
            tch::set_num_threads(1);
            let one = run(&plan, &inputs, &grad);
            tch::set_num_threads(threads);
            assert_eq!(many, one, "{kind:?}");
        }
    }
}
