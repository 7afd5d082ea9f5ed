//! A group of sequences as a tree of token spans.

/// Common tokens fewer than this are not shared: the bookkeeping would cost more
/// than the tokens.
const SHORTEST_SHARED: usize = 8;

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
    /// Shares common token prefixes, so that the result equals that of the
    /// sequences one by one: where at least eight tokens after what is shared
    /// already agree, all that agrees is one span. Two responses may so share
    /// more than all do. Equal ends are one span at any length.
    ///
    /// # Panics
    /// If a sequence is empty.
    pub fn share(sequences: &[Vec<u32>]) -> Self {
        Self::share_at_least(sequences, SHORTEST_SHARED)
    }

    fn share_at_least(sequences: &[Vec<u32>], shortest: usize) -> Self {
        let mut trie = Trie {
            sequences,
            shortest,
            spans: Vec::new(),
            ends: vec![None; sequences.len()],
        };
        trie.grow(None, 0, &(0..sequences.len()).collect::<Vec<_>>());
        let ends = trie.ends.into_iter();
        Self {
            spans: trie.spans,
            ends: ends.map(|end| end.expect("no sequence is empty")).collect(),
            lengths: sequences.iter().map(Vec::len).collect(),
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

/// A group's tree while it grows. Its depth is at most the number of
/// sequences: below every shared span they part.
struct Trie<'a> {
    sequences: &'a [Vec<u32>],
    shortest: usize,
    spans: Vec<Span>,
    ends: Vec<Option<usize>>,
}

impl Trie<'_> {
    /// Adds what `members` hold from `start` on; before it, they are the path
    /// that ends in `parent`.
    fn grow(&mut self, parent: Option<usize>, start: usize, members: &[usize]) {
        for class in self.alike(start, members) {
            let sequences = class.iter().map(|&member| &self.sequences[member]);
            let end = common_prefix(&sequences.collect::<Vec<_>>());
            let mut span = parent;
            if end > start {
                let tokens = self.sequences[class[0]][start..end].to_vec();
                self.spans.push(Span { parent, tokens });
                span = Some(self.spans.len() - 1);
            }
            let (ended, longer): (Vec<usize>, Vec<usize>) = class
                .into_iter()
                .partition(|&member| self.sequences[member].len() == end);
            for member in ended {
                self.ends[member] = span;
            }
            self.grow(span, end, &longer);
        }
    }

    /// Members whose next `shortest` tokens agree, or whose fewer last ones do;
    /// in the order of their first.
    fn alike(&self, start: usize, members: &[usize]) -> Vec<Vec<usize>> {
        let mut classes: Vec<(&[u32], Vec<usize>)> = Vec::new();
        for &member in members {
            let rest = &self.sequences[member][start..];
            let opening = &rest[..rest.len().min(self.shortest)];
            match classes.iter_mut().find(|(known, _)| *known == opening) {
                Some((_, class)) => class.push(member),
                None => classes.push((opening, vec![member])),
            }
        }
        classes.into_iter().map(|(_, class)| class).collect()
    }
}

/// Number of tokens that all sequences begin with.
pub fn common_prefix<S: AsRef<[u32]>>(sequences: &[S]) -> usize {
    let Some((first, rest)) = sequences.split_first() else {
        return 0;
    };
    rest.iter().fold(first.as_ref().len(), |longest, sequence| {
        let same = first
            .as_ref()
            .iter()
            .zip(sequence.as_ref())
            .take_while(|(a, b)| a == b)
            .count();
        longest.min(same)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

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

    #[test]
    fn two_responses_share_more_than_all_do() {
        // Ten tokens of all, then nine more of the first and the last.
        let group = Group::share(&[
            sequence(19, &[70]),
            sequence(10, &[71, 72]),
            sequence(19, &[73, 74]),
        ]);
        let parents: Vec<Option<usize>> = group.spans.iter().map(|span| span.parent).collect();
        assert_eq!(parents, [None, Some(0), Some(1), Some(1), Some(0)]);
        assert_eq!(group.tokens(), 10 + 9 + 1 + 2 + 2);
        assert_eq!(group.path(2), [0, 1, 3]);
        assert_eq!(group.path(1), [0, 4]);
    }

    #[test]
    fn two_responses_share_although_all_share_too_little() {
        let group = Group::share(&[sequence(12, &[70]), sequence(3, &[71]), sequence(12, &[72])]);
        assert_eq!(group.tokens(), 12 + 1 + 1 + 4);
    }

    #[test]
    fn equal_sequences_are_computed_once() {
        let group = Group::share(&[sequence(9, &[5]), sequence(9, &[5]), sequence(9, &[6])]);
        assert_eq!(
            (group.tokens(), group.ends.as_slice()),
            (11, &[1, 1, 2][..])
        );
        assert_eq!(Group::share(&[vec![4], vec![4]]).tokens(), 1);
    }

    /// Up to seven sequences that continue prefixes of each other.
    fn related() -> impl Strategy<Value = Vec<Vec<u32>>> {
        let part = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
        let tail = prop::collection::vec(0..3u32, 0..20);
        prop::collection::vec((part, tail), 1..8).prop_map(|parts| {
            let mut made: Vec<Vec<u32>> = Vec::new();
            for ((which, cut), tail) in parts {
                let mut next = match made.len() {
                    0 => Vec::new(),
                    count => {
                        let other = &made[which.index(count)];
                        other[..cut.index(other.len() + 1)].to_vec()
                    }
                };
                next.extend(tail);
                if next.is_empty() {
                    next.push(0);
                }
                made.push(next);
            }
            made
        })
    }

    fn tokens_of_path(group: &Group, index: usize) -> Vec<u32> {
        let spans = group.path(index).into_iter();
        spans
            .flat_map(|span| group.spans[span].tokens.clone())
            .collect()
    }

    proptest! {
        #[test]
        fn every_path_is_its_sequence(sequences in related(), shortest in 1..12usize) {
            let group = Group::share_at_least(&sequences, shortest);
            for (index, sequence) in sequences.iter().enumerate() {
                prop_assert_eq!(&tokens_of_path(&group, index), sequence);
                prop_assert_eq!(group.lengths[index], sequence.len());
            }
            for (index, span) in group.spans.iter().enumerate() {
                prop_assert!(!span.tokens.is_empty());
                prop_assert!(span.parent.is_none_or(|parent| parent < index));
            }
        }

        /// With nothing too short to share, one token for every node of the
        /// full trie: for every distinct prefix.
        #[test]
        fn no_token_is_computed_twice(sequences in related()) {
            let prefixes: HashSet<&[u32]> = sequences
                .iter()
                .flat_map(|sequence| (1..=sequence.len()).map(|end| &sequence[..end]))
                .collect();
            prop_assert_eq!(Group::share_at_least(&sequences, 1).tokens(), prefixes.len());
        }

        /// What is left unshared was too short: spans that continue the same
        /// parent agree in fewer than `shortest` tokens. What is shared is not.
        #[test]
        fn only_short_prefixes_are_left(sequences in related(), shortest in 1..12usize) {
            let group = Group::share_at_least(&sequences, shortest);
            for (i, span) in group.spans.iter().enumerate() {
                for other in &group.spans[..i] {
                    if span.parent == other.parent {
                        let pairs = span.tokens.iter().zip(&other.tokens);
                        let same = pairs.take_while(|(a, b)| a == b).count();
                        prop_assert!(same < shortest && span.tokens != other.tokens);
                    }
                }
                if group.spans.iter().any(|child| child.parent == Some(i)) {
                    prop_assert!(span.tokens.len() >= shortest);
                }
            }
        }
    }
}
