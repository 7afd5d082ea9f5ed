//! Groups side by side as one batch of tokens.

use moreline_formats::ModelConfig;
use tch::{Device, Kind, Tensor};

use super::attention::{AttentionPlan, Item};
use super::group::Group;
use crate::model::layers::Rotary;

/// A batch of T tokens without padding, ready for the model.
#[derive(Debug)]
pub struct Packed {
    /// Token ids `[T]`, int64.
    pub tokens_t: Tensor,
    /// How they attend.
    pub attention: AttentionPlan,
    /// Their rotary factors.
    pub rotary: Rotary,
    /// Number of tokens, T.
    pub len: usize,
    groups: Vec<Placed>,
}

/// Where a group's sequences lie: for each its pieces (start, length) in order.
#[derive(Debug)]
struct Placed {
    sequences: Vec<Vec<(usize, usize)>>,
}

impl Packed {
    /// Packs `groups` in order.
    pub fn new<'a>(
        groups: impl IntoIterator<Item = &'a Group>,
        config: &ModelConfig,
        kind: Kind,
        device: Device,
    ) -> Self {
        let mut tokens: Vec<i64> = Vec::new();
        let mut positions: Vec<i64> = Vec::new();
        let mut items = Vec::new();
        // Tokens up to each item's end.
        let mut depths: Vec<usize> = Vec::new();
        let mut placed = Vec::new();
        for group in groups {
            let first = items.len();
            for span in &group.spans {
                let parent = span.parent.map(|parent| first + parent);
                let depth = parent.map_or(0, |parent| depths[parent]);
                let item = Item {
                    start: tokens.len(),
                    len: span.tokens.len(),
                    parent,
                };
                depths.push(depth + item.len);
                positions.extend((depth..depth + item.len).map(|p| p as i64));
                tokens.extend(span.tokens.iter().map(|&t| i64::from(t)));
                items.push(item);
            }
            placed.push(Placed::new(group, &items[first..]));
        }
        Self {
            tokens_t: Tensor::from_slice(&tokens).to_device(device),
            attention: AttentionPlan::new(&items, tokens.len(), kind, device),
            rotary: Rotary::new(&config.rope, &positions, kind, device),
            len: tokens.len(),
            groups: placed,
        }
    }

    /// Index in the batch of position `position` of a group's sequence.
    ///
    /// # Panics
    /// If there is no such position.
    pub fn index(&self, group: usize, sequence: usize, position: usize) -> i64 {
        let mut rest = position;
        for &(start, len) in &self.groups[group].sequences[sequence] {
            if rest < len {
                return (start + rest) as i64;
            }
            rest -= len;
        }
        panic!("position {position} is beyond the sequence");
    }

    /// Indices in the batch of all positions of a group's sequence, in order.
    pub fn indices(&self, group: usize, sequence: usize) -> impl Iterator<Item = i64> {
        let pieces = &self.groups[group].sequences[sequence];
        pieces
            .iter()
            .flat_map(|&(start, len)| (start..start + len).map(|i| i as i64))
    }

    /// Number of sequences of a group.
    pub fn sequences(&self, group: usize) -> usize {
        self.groups[group].sequences.len()
    }
}

impl Placed {
    fn new(group: &Group, items: &[Item]) -> Self {
        let place = |sequence| {
            let path = group.path(sequence).into_iter();
            path.map(|span| (items[span].start, items[span].len))
                .collect()
        };
        Self {
            sequences: (0..group.ends.len()).map(place).collect(),
        }
    }
}
