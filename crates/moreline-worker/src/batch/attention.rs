//! Attention over a packed batch, span by span in batches of similar shape.
//!
//! Each span attends to itself causally and to its ancestors fully. Spans of
//! similar size are padded into one call (padding exists here only, never in a
//! linear layer); one large masked row would be many times slower.

use tch::{Device, Kind, Tensor};

use crate::model::layers::Attend;

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

#[derive(Debug)]
struct Piece {
    batch: i64,
    queries: i64,
    keys: i64,
    query_index: Tensor,
    /// Absent if the same as the queries'.
    key_index: Option<Tensor>,
    /// Additive, `[batch, 1, queries, keys]`; absent for plain causal attention.
    mask: Option<Tensor>,
}

/// How the tokens of a packed batch attend. Implements [`Attend`] for training
/// and scoring; differentiable.
#[derive(Debug)]
pub struct AttentionPlan {
    pieces: Vec<Piece>,
    /// For each token its row among the pieces' outputs.
    restore: Tensor,
}

impl AttentionPlan {
    /// A plan for `items` that cover `tokens` tokens; masks in `kind`.
    pub fn new(items: &[Item], tokens: usize, kind: Kind, device: Device) -> Self {
        let mut restore = vec![0i64; tokens];
        let mut rows = 0usize;
        let mut pieces = Vec::new();
        for members in similar(items) {
            let queries = members.iter().map(|m| m.len).max().unwrap_or(0);
            for (b, member) in members.iter().enumerate() {
                for i in 0..member.len {
                    restore[member.start + i] = (rows + b * queries + i) as i64;
                }
            }
            rows += members.len() * queries;
            pieces.push(Piece::new(&members, kind, device));
        }
        Self {
            pieces,
            restore: Tensor::from_slice(&restore).to_device(device),
        }
    }
}

impl Piece {
    fn new(members: &[&Item], kind: Kind, device: Device) -> Self {
        let queries = members.iter().map(|m| m.len).max().unwrap_or(0);
        let keys = members.iter().map(|m| m.keys()).max().unwrap_or(0);
        let plain = members.iter().all(|m| m.ancestors.is_empty() && m.len == queries);
        let index = |rows: Vec<i64>| Tensor::from_slice(&rows).to_device(device);
        let query_rows = members.iter().flat_map(|m| padded(m.start..m.start + m.len, queries));
        let own = members.iter().all(|m| m.ancestors.is_empty());
        let key_rows = members.iter().flat_map(|m| {
            let ancestors = m.ancestors.iter().flat_map(|&(start, len)| start..start + len);
            padded(ancestors.chain(m.start..m.start + m.len), keys)
        });
        Self {
            batch: members.len() as i64,
            queries: queries as i64,
            keys: keys as i64,
            query_index: index(query_rows.collect()),
            key_index: (!own).then(|| index(key_rows.collect())),
            mask: (!plain).then(|| mask(members, queries, keys).to_kind(kind).to_device(device)),
        }
    }

    fn attend(&self, q_tnd: &Tensor, k_tkd: &Tensor, v_tkd: &Tensor) -> Tensor {
        let gather = |x: &Tensor, index: &Tensor, rows: i64| {
            let size = x.size();
            x.index_select(0, index)
                .view([self.batch, rows, size[1], size[2]])
                .transpose(1, 2)
        };
        let key_index = self.key_index.as_ref().unwrap_or(&self.query_index);
        let q = gather(q_tnd, &self.query_index, self.queries);
        let k = gather(k_tkd, key_index, self.keys);
        let v = gather(v_tkd, key_index, self.keys);
        let grouped = q.size()[1] != k.size()[1];
        let causal = self.mask.is_none();
        let out = Tensor::scaled_dot_product_attention(
            &q, &k, &v, self.mask.as_ref(), 0.0, causal, None, grouped,
        );
        let width = q.size()[1] * q.size()[3];
        out.transpose(1, 2).reshape([self.batch * self.queries, width])
    }
}

impl Attend for AttentionPlan {
    fn attend(&self, _layer: usize, q_tnd: &Tensor, k_tkd: &Tensor, v_tkd: &Tensor) -> Tensor {
        let (q, k, v) = (q_tnd.contiguous(), k_tkd.contiguous(), v_tkd.contiguous());
        let outs: Vec<Tensor> = self.pieces.iter().map(|p| p.attend(&q, &k, &v)).collect();
        Tensor::cat(&outs, 0).index_select(0, &self.restore)
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
