//! A group of sequences as a tree of token spans.

/// Prefixes shorter than this are not shared: the bookkeeping would cost more
/// than the tokens.
const SHORTEST_SHARED_PREFIX: usize = 8;

/// A run of tokens that continues its parent's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The span it continues.
    pub parent: Option<usize>,
    /// Its tokens; never empty.
    pub tokens: Vec<u32>,
}

/// Sequences that belong together: the responses to one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Spans, parents before children.
    pub spans: Vec<Span>,
    /// For each sequence the span it ends in.
    pub ends: Vec<usize>,
    /// For each sequence its number of tokens.
    pub lengths: Vec<usize>,
}

impl Group {
    /// Shares the longest common token prefix of the sequences, so that the
    /// result equals that of the sequences one by one. Sequences must not be
    /// empty.
    pub fn share(sequences: &[Vec<u32>]) -> Self {
        let lengths = sequences.iter().map(Vec::len).collect();
        let shared = common_prefix(sequences);
        if sequences.len() < 2 || shared < SHORTEST_SHARED_PREFIX {
            let spans = sequences
                .iter()
                .map(|tokens| Span {
                    parent: None,
                    tokens: tokens.clone(),
                })
                .collect();
            let ends = (0..sequences.len()).collect();
            return Self {
                spans,
                ends,
                lengths,
            };
        }
        let root = Span {
            parent: None,
            tokens: sequences[0][..shared].to_vec(),
        };
        let mut spans = vec![root];
        let mut ends = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            if sequence.len() > shared {
                spans.push(Span {
                    parent: Some(0),
                    tokens: sequence[shared..].to_vec(),
                });
                ends.push(spans.len() - 1);
            } else {
                ends.push(0);
            }
        }
        Self {
            spans,
            ends,
            lengths,
        }
    }

    /// Every sequence on its own, nothing shared: the reference for tests.
    pub fn unshared(sequences: &[Vec<u32>]) -> Self {
        Self {
            spans: sequences
                .iter()
                .map(|tokens| Span {
                    parent: None,
                    tokens: tokens.clone(),
                })
                .collect(),
            ends: (0..sequences.len()).collect(),
            lengths: sequences.iter().map(Vec::len).collect(),
        }
    }

    /// Tokens computed.
    pub fn tokens(&self) -> usize {
        self.spans.iter().map(|span| span.tokens.len()).sum()
    }

    /// Tokens that would be computed without sharing.
    pub fn tokens_unshared(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// The spans of sequence `index` from the root to its end.
    pub fn path(&self, index: usize) -> Vec<usize> {
        let mut path = vec![self.ends[index]];
        while let Some(parent) = self.spans[path[path.len() - 1]].parent {
            path.push(parent);
        }
        path.reverse();
        path
    }
}

/// Number of tokens that all sequences begin with.
pub fn common_prefix(sequences: &[Vec<u32>]) -> usize {
    let Some((first, rest)) = sequences.split_first() else {
        return 0;
    };
    rest.iter().fold(first.len(), |longest, sequence| {
        let same = first
            .iter()
            .zip(sequence)
            .take_while(|(a, b)| a == b)
            .count();
        longest.min(same)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(prefix: usize, tail: &[u32]) -> Vec<u32> {
        (0..prefix as u32).chain(tail.iter().copied()).collect()
    }

    #[test]
    fn a_shared_prompt_is_one_span() {
        let group = Group::share(&[sequence(10, &[50, 51]), sequence(10, &[60])]);
        assert_eq!(group.spans.len(), 3);
        assert_eq!(group.tokens(), 13);
        assert_eq!(group.tokens_unshared(), 23);
        assert_eq!(group.path(1), [0, 2]);
    }

    #[test]
    fn a_sequence_that_is_the_prefix_ends_in_the_root() {
        let group = Group::share(&[sequence(10, &[]), sequence(10, &[7])]);
        assert_eq!(group.ends, [0, 1]);
        assert_eq!(group.path(0), [0]);
    }

    #[test]
    fn short_prefixes_are_not_shared() {
        let group = Group::share(&[sequence(2, &[9]), sequence(2, &[8])]);
        assert_eq!(
            group,
            Group::unshared(&[sequence(2, &[9]), sequence(2, &[8])])
        );
    }
}
