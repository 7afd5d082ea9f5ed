//! OASST message trees: nested, one tree a row, or flat, one message a row.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

use super::tree::{Node, Tree};
use super::{Convert, Found};
use crate::rows::fields::{self, Reason};
use crate::rows::read::Position;

/// Most messages of one tree; the published ones have a few dozen.
const MAX_MESSAGES: usize = 10_000;

/// Reads rows of either form.
pub(super) struct Oasst {
    language: Option<String>,
    /// The flat tree being gathered.
    open: Option<FlatTree>,
    /// Hashes of the ids of the flat trees that are over.
    over: HashSet<u64>,
}

#[derive(Default)]
struct FlatTree {
    id: String,
    messages: Vec<FlatMessage>,
}

struct FlatMessage {
    id: String,
    parent: Option<String>,
    node: Node,
}

impl Oasst {
    pub(super) fn new(language: Option<String>) -> Self {
        Self {
            language,
            open: None,
            over: HashSet::new(),
        }
    }

    fn flat(&mut self, fields: Map<String, Value>, found: &mut Found) -> Result<(), Reason> {
        let tree = id(&fields, "message_tree_id")?;
        let parent = match fields.get("parent_id") {
            None | Some(Value::Null) => None,
            Some(_) => Some(id(&fields, "parent_id")?),
        };
        let message = FlatMessage {
            id: id(&fields, "message_id")?,
            parent,
            node: self.node(&fields, None)?,
        };
        if self.open.as_ref().is_none_or(|open| open.id != tree) {
            self.close(found);
            if self.over.contains(&hash(&tree)) {
                return Err(Reason::new(format!(
                    "the messages of tree {tree} do not stand together"
                ))
                .hint("sort the file by `message_tree_id`"));
            }
        }
        let open = self.open.get_or_insert_with(|| FlatTree {
            id: tree,
            messages: Vec::new(),
        });
        if open.messages.len() == MAX_MESSAGES {
            return Err(too_many());
        }
        open.messages.push(message);
        Ok(())
    }

    /// The gathered flat tree is over.
    fn close(&mut self, found: &mut Found) {
        let Some(FlatTree { id, messages }) = self.open.take() else {
            return;
        };
        self.over.insert(hash(&id));
        let ids = messages.iter().map(|message| message.id.clone());
        let index: HashMap<String, usize> = ids.zip(0..).collect();
        let mut tree = Tree::default();
        for message in messages {
            let mut node = message.node;
            // A message whose parent is not there is its own, and so in reach
            // of no root.
            let own = tree.nodes.len();
            node.parent = message
                .parent
                .map(|parent| index.get(&parent).copied().unwrap_or(own));
            tree.nodes.push(node);
        }
        tree.rows(found);
    }

    fn nested(&self, root: Value, found: &mut Found) -> Result<(), Reason> {
        let mut tree = Tree::default();
        let mut waiting = vec![(None, root)];
        while let Some((parent, message)) = waiting.pop() {
            let mut fields = fields::object(message)
                .map_err(|_| Reason::new("a message of the tree must be an object"))?;
            let replies = match fields.remove("replies") {
                None | Some(Value::Null) => Vec::new(),
                Some(replies) => fields::list("replies", replies)?,
            };
            if tree.nodes.len() == MAX_MESSAGES {
                return Err(too_many());
            }
            let index = tree.nodes.len();
            tree.nodes.push(self.node(&fields, parent)?);
            // Taken from the end: siblings keep their order.
            waiting.extend(replies.into_iter().rev().map(|reply| (Some(index), reply)));
        }
        tree.rows(found);
        Ok(())
    }

    fn node(&self, fields: &Map<String, Value>, parent: Option<usize>) -> Result<Node, Reason> {
        let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
        let role = field("role").and_then(Value::as_str).unwrap_or_default();
        let assistant = match role {
            "assistant" => true,
            "prompter" | "user" => false,
            other => {
                return Err(Reason::new(format!("unknown role `{other}` of a message"))
                    .hint("the roles are `prompter` and `assistant`"));
            }
        };
        let text = fields.get("text").cloned().unwrap_or(Value::Null);
        let text = fields::string("`text` of a message", text)?;
        let rank = field("rank").map(rank).transpose()?;
        Ok(Node {
            parent,
            assistant,
            rank,
            unusable: self.unusable(fields, &text),
            text,
        })
    }

    fn unusable(&self, fields: &Map<String, Value>, text: &str) -> Option<&'static str> {
        if fields.get("deleted").and_then(Value::as_bool) == Some(true) {
            return Some("deleted_messages");
        }
        match fields.get("review_result") {
            Some(Value::Bool(false)) => return Some("rejected_messages"),
            Some(Value::Null) => return Some("unreviewed_messages"),
            _ => {}
        }
        if text.trim().is_empty() {
            return Some("empty_messages");
        }
        let language = fields.get("lang").and_then(Value::as_str);
        match &self.language {
            Some(wanted) if language != Some(wanted) => Some("messages_in_other_languages"),
            _ => None,
        }
    }
}

/// An id of a message or a tree.
fn id(fields: &Map<String, Value>, name: &str) -> Result<String, Reason> {
    match fields.get(name) {
        Some(Value::String(id)) if !id.is_empty() => Ok(id.clone()),
        other => Err(Reason::new(format!(
            "`{name}` must be a string, it is {}",
            fields::describe(other.unwrap_or(&Value::Null))
        ))),
    }
}

/// A rank. Columns with gaps come as floating-point numbers.
fn rank(value: &Value) -> Result<u64, Reason> {
    let rank = value.as_u64().or_else(|| whole(value.as_f64()?));
    rank.ok_or_else(|| {
        let what = fields::describe(value);
        Reason::new(format!("`rank` must be a number from 0 on, it is {what}"))
    })
}

fn whole(number: f64) -> Option<u64> {
    (number >= 0.0 && number.fract() == 0.0 && number < 1e9).then_some(number as u64)
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

fn too_many() -> Reason {
    Reason::new(format!("a tree of more than {MAX_MESSAGES} messages"))
}

impl Convert for Oasst {
    fn take(&mut self, value: Value, _: Position, found: &mut Found) -> Result<(), Reason> {
        let mut fields = fields::object(value)?;
        match fields.remove("prompt") {
            Some(root @ Value::Object(_)) => self.nested(root, found),
            _ => self.flat(fields, found),
        }
    }

    fn finish(&mut self, found: &mut Found) {
        self.close(found);
    }
}
