//! Attention over a packed batch, span by span in batches of similar shape.
//!
//! Each span attends to itself causally and to its ancestors fully. Spans of
//! similar size are padded into one call (padding exists here only, never in a
//! linear layer); one large masked row would be many times slower.

use tch::{Device, Kind, Tensor};

use crate::model::layers::{Attend, Heads, Rotary, attend_unfused};

/// A span that attends: `len` queries at `start`, keys at the ancestors' tokens
/// and its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// First token in the batch.
    pub start: usize,
    /// Number of tokens.
    pub len: usize,
    /// Ancestors as (start, length), root first.
    pub ancestors: Vec<(usize, usize)>,
}

impl Item {
    fn prefix(&self) -> usize {
        self.ancestors.iter().map(|(_, len)| len).sum()
    }

    fn keys(&self) -> usize {
        self.prefix() + self.len
    }
}

/// Padding allowed when an item joins a piece: this many query-key products
/// cost about as much as one more call.
const FREE_PADDING: usize = 4096;

/// Spans that attend in one call.
#[derive(Debug)]
struct Piece {
    batch: i64,
    queries: i64,
    keys: i64,
    /// Additive, `[batch, 1, queries, keys]`; absent for plain causal attention.
    mask: Option<Tensor>,
}

/// How the tokens of a packed batch attend. Implements [`Attend`] for training
/// and scoring; differentiable.
#[derive(Debug)]
pub struct AttentionPlan {
    pieces: Vec<Piece>,
    /// Token of each query row, piece after piece `[Q]`.
    query_index: Tensor,
    /// Token of each key row `[K]`.
    key_index: Tensor,
    /// Query row of each token `[T]`.
    query_row: Tensor,
    /// Token of each query row `[Q]`, -1 for padding.
    query_token: Tensor,
    /// Start of each token's key rows `[T + 1]`.
    key_offsets: Tensor,
    /// Key rows, token after token.
    key_rows: Tensor,
}

impl AttentionPlan {
    /// A plan for `items` that cover `tokens` tokens; masks in `kind`.
    pub fn new(items: &[Item], tokens: usize, kind: Kind, device: Device) -> Self {
        let mut rows = Rows::new(tokens);
        let pieces = similar(items)
            .iter()
            .map(|members| rows.add(members, kind, device))
            .collect();
        let place = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        let (offsets, key_rows) = rows.keys_by_token();
        Self {
            pieces,
            query_index: place(&rows.query_index),
            key_index: place(&rows.key_index),
            query_row: place(&rows.query_row),
            query_token: place(&rows.query_token),
            key_offsets: place(&offsets),
            key_rows: place(&key_rows),
        }
    }

    /// Attention of gathered queries `[Q, N * D]`, keys and values
    /// `[K, K heads * D]`; back to the order of the tokens, `[T, N * D]`.
    fn attend_gathered(&self, [q, k, v]: [Tensor; 3], heads: Heads) -> Tensor {
        let sizes = |rows: fn(&Piece) -> i64| -> Vec<i64> {
            self.pieces
                .iter()
                .map(|piece| piece.batch * rows(piece))
                .collect()
        };
        let split = |x: &Tensor, sizes: &[i64]| x.split_with_sizes(sizes, 0);
        let (query_sizes, key_sizes) = (sizes(|p| p.queries), sizes(|p| p.keys));
        let (q, k, v) = (
            split(&q, &query_sizes),
            split(&k, &key_sizes),
            split(&v, &key_sizes),
        );
        let outs: Vec<Tensor> = self
            .pieces
            .iter()
            .enumerate()
            .map(|(i, piece)| piece.attend(&q[i], &k[i], &v[i], heads))
            .collect();
        let out = Tensor::cat(&outs, 0);
        if fusible(&out) {
            torch_ext_sys::gather_rows(&out, &self.query_row, &self.query_token)
        } else {
            out.index_select(0, &self.query_row)
        }
    }
}

/// Whether the fused kernels take a tensor.
fn fusible(x: &Tensor) -> bool {
    x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::BFloat16)
}

impl Piece {
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads) -> Tensor {
        let shaped = |x: &Tensor, rows: i64, heads_here: i64| {
            x.view([self.batch, rows, heads_here, heads.size])
                .transpose(1, 2)
        };
        let out = Tensor::scaled_dot_product_attention(
            &shaped(q, self.queries, heads.queries),
            &shaped(k, self.keys, heads.keys),
            &shaped(v, self.keys, heads.keys),
            self.mask.as_ref(),
            0.0,
            self.mask.is_none(),
            None,
            heads.queries != heads.keys,
        );
        out.transpose(1, 2)
            .reshape([self.batch * self.queries, heads.queries * heads.size])
    }
}

impl Attend for AttentionPlan {
    fn attend(&self, _layer: usize, q_tnd: &Tensor, k_tkd: &Tensor, v_tkd: &Tensor) -> Tensor {
        let heads = Heads {
            queries: q_tnd.size()[1],
            keys: k_tkd.size()[1],
            size: q_tnd.size()[2],
        };
        let gather =
            |x: &Tensor, index: &Tensor| x.contiguous().index_select(0, index).flatten(1, 2);
        let q = gather(q_tnd, &self.query_index);
        let k = gather(k_tkd, &self.key_index);
        let v = gather(v_tkd, &self.key_index);
        self.attend_gathered([q, k, v], heads)
    }

    fn attend_fused(&self, layer: usize, qkv: &Tensor, heads: Heads, rotary: &Rotary) -> Tensor {
        if !fusible(qkv) {
            return attend_unfused(self, layer, qkv, heads, rotary);
        }
        let plan = torch_ext_sys::RotaryPlan {
            cos: &rotary.cos_th,
            sin: &rotary.sin_th,
            query_index: &self.query_index,
            key_index: &self.key_index,
            query_row: &self.query_row,
            key_offsets: &self.key_offsets,
            key_rows: &self.key_rows,
            heads: [heads.queries, heads.keys, heads.size, rotary.dims],
        };
        self.attend_gathered(torch_ext_sys::rotary_gather(qkv, &plan), heads)
    }
}

/// The rows of all pieces, as they are laid out.
struct Rows {
    query_index: Vec<i64>,
    key_index: Vec<i64>,
    query_row: Vec<i64>,
    query_token: Vec<i64>,
    /// (token, key row) of every key that is not padding.
    keys: Vec<(i64, i64)>,
}

impl Rows {
    fn new(tokens: usize) -> Self {
        Self {
            query_index: Vec::new(),
            key_index: Vec::new(),
            query_row: vec![0; tokens],
            query_token: Vec::new(),
            keys: Vec::new(),
        }
    }

    fn add(&mut self, members: &[&Item], kind: Kind, device: Device) -> Piece {
        let queries = members.iter().map(|m| m.len).max().unwrap_or(0);
        let keys = members.iter().map(|m| m.keys()).max().unwrap_or(0);
        for member in members {
            let own = member.start..member.start + member.len;
            for token in own.clone() {
                self.query_row[token] = (self.query_token.len() + token - own.start) as i64;
            }
            self.query_token.extend(own.clone().map(|t| t as i64));
            self.query_token
                .resize(self.query_token.len() + queries - member.len, -1);
            self.query_index.extend(padded(own.clone(), queries));
            let ancestors = member
                .ancestors
                .iter()
                .flat_map(|&(start, len)| start..start + len);
            let row = self.key_index.len() as i64;
            let seen = ancestors.chain(own);
            self.keys.extend(
                seen.clone()
                    .zip(row..)
                    .map(|(token, row)| (token as i64, row)),
            );
            self.key_index.extend(padded(seen, keys));
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

    /// For each token where its key rows start, and the rows.
    fn keys_by_token(&self) -> (Vec<i64>, Vec<i64>) {
        let mut offsets = vec![0i64; self.query_row.len() + 1];
        for &(token, _) in &self.keys {
            offsets[token as usize + 1] += 1;
        }
        for i in 1..offsets.len() {
            offsets[i] += offsets[i - 1];
        }
        let mut sorted = self.keys.clone();
        sorted.sort_unstable();
        (offsets, sorted.into_iter().map(|(_, row)| row).collect())
    }
}

/// Rows, filled up to `len` with the first one.
fn padded(rows: impl Iterator<Item = usize>, len: usize) -> Vec<i64> {
    let mut rows: Vec<i64> = rows.map(|row| row as i64).collect();
    let fill = rows.first().copied().unwrap_or(0);
    rows.resize(len, fill);
    rows
}

/// Zero where a query may look, minus infinity elsewhere. Padding queries look
/// at the first key, so that no row is empty and no NaN appears in gradients.
fn mask(members: &[&Item], queries: usize, keys: usize) -> Tensor {
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

/// Items in batches of similar shape: sorted by size, cut where padding would
/// cost more than another call.
fn similar(items: &[Item]) -> Vec<Vec<&Item>> {
    let mut sorted: Vec<&Item> = items.iter().collect();
    sorted.sort_by_key(|item| (item.keys(), item.len, item.start));
    let mut batches: Vec<Vec<&Item>> = Vec::new();
    let (mut queries, mut keys) = (0, 0);
    for item in sorted {
        let joined = (queries.max(item.len), keys.max(item.keys()));
        if let Some(batch) = batches.last_mut() {
            let before = batch.len() * queries * keys;
            let after = (batch.len() + 1) * joined.0 * joined.1;
            let own = item.len * item.keys();
            if after - before - own <= FREE_PADDING.max(own / 5) {
                batch.push(item);
                (queries, keys) = joined;
                continue;
            }
        }
        batches.push(vec![item]);
        (queries, keys) = (item.len, item.keys());
    }
    batches
}
