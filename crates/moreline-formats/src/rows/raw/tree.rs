//! One OASST message tree, and the ranked siblings in it.

use std::collections::HashMap;

use moreline_protocol::rows::Message;

use super::{Found, RawRow};

/// One message of a tree.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) parent: Option<usize>,
    /// True for the assistant's, false for the prompter's.
    pub(super) assistant: bool,
    pub(super) text: String,
    /// 0 is the best of its siblings.
    pub(super) rank: Option<u64>,
    /// Why it cannot be used, if it cannot.
    pub(super) unusable: Option<&'static str>,
}

/// The messages of a tree; a parent stands anywhere.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
}

impl Tree {
    /// Gives a row for every message of the prompter's with at least two ranked
    /// replies, and counts what is left out.
    pub(super) fn rows(&self, found: &mut Found) {
        let usable = self.usable(found);
        let mut replies: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if let Some(parent) = node.parent
                && node.assistant
                && usable[index]
                && !self.nodes[parent].assistant
            {
                replies.entry(parent).or_default().push(index);
            }
        }
        for parent in 0..self.nodes.len() {
            if let Some(replies) = replies.get(&parent) {
                self.row(parent, replies, found);
            }
        }
    }

    fn row(&self, parent: usize, replies: &[usize], found: &mut Found) {
        let ranked: Vec<(usize, u64)> = replies
            .iter()
            .filter_map(|reply| Some((*reply, self.nodes[*reply].rank?)))
            .collect();
        if ranked.len() < 2 {
            return found.drop("prompts_with_fewer_than_two_ranked_replies");
        }
        for _ in ranked.len()..replies.len() {
            found.drop("unranked_replies");
        }
        let worst = ranked.iter().map(|(_, rank)| *rank).max().unwrap_or(0);
        found.rows.push(RawRow {
            prompt: self.path(parent),
            responses: ranked
                .iter()
                .map(|(reply, _)| self.nodes[*reply].text.clone())
                .collect(),
            scores: ranked
                .iter()
                .map(|(_, rank)| (worst - rank) as f64)
                .collect(),
            longer: false,
        });
    }

    /// Which messages can be used: they and all before them are there and sound.
    /// What is not is counted once, by its own reason or by that of being under
    /// such a message.
    fn usable(&self, found: &mut Found) -> Vec<bool> {
        let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut roots = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            match node.parent {
                Some(parent) => children.entry(parent).or_default().push(index),
                None => roots.push(index),
            }
        }
        let mut usable = vec![false; self.nodes.len()];
        let mut reached = vec![false; self.nodes.len()];
        let mut stack: Vec<(usize, bool)> = roots.into_iter().map(|root| (root, true)).collect();
        while let Some((index, before)) = stack.pop() {
            reached[index] = true;
            let own = self.nodes[index].unusable;
            usable[index] = before && own.is_none();
            match own {
                Some(reason) => found.drop(reason),
                None if !before => found.drop("messages_under_left_out_ones"),
                None => {}
            }
            let below = children.get(&index).into_iter().flatten();
            stack.extend(below.map(|child| (*child, usable[index])));
        }
        for _ in reached.iter().filter(|reached| !**reached) {
            found.drop("messages_without_parent");
        }
        usable
    }

    /// The conversation from the root to a message.
    fn path(&self, end: usize) -> Vec<Message> {
        let steps = std::iter::successors(Some(end), |index| self.nodes[*index].parent);
        let mut path: Vec<Message> = steps
            .map(|index| {
                let node = &self.nodes[index];
                Message {
                    role: if node.assistant { "assistant" } else { "user" }.into(),
                    content: node.text.clone(),
                }
            })
            .collect();
        path.reverse();
        path
    }
}
