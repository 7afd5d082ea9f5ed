//! Results on their way to the cache layers, beside the stages that are at work.

use std::thread::Scope;

use crossbeam_channel::{Sender, unbounded};

use crate::config::LayerMode;
use crate::engine::context::Context;
use crate::store::ActionRecord;

/// Results given away at once.
const LANES: usize = 4;

/// Takes results that are to be given to the cache layers.
pub(super) struct Uploads(Option<Sender<Box<ActionRecord>>>);

impl Uploads {
    /// Starts what gives results away; nothing if no layer takes any. The scope
    /// ends once all are given.
    pub(super) fn start<'s>(scope: &'s Scope<'s, '_>, context: &'s Context<'_>) -> Self {
        let layers = &context.site.cache_layers;
        if !layers
            .iter()
            .any(|layer| layer.mode == LayerMode::ReadWrite)
        {
            return Self(None);
        }
        let (sender, records) = unbounded::<Box<ActionRecord>>();
        for _ in 0..LANES {
            let records = records.clone();
            scope.spawn(move || {
                for record in records {
                    context.give_result(&record);
                }
            });
        }
        Self(Some(sender))
    }

    /// Gives a committed result to the layers, in its turn.
    pub(super) fn give(&self, record: &ActionRecord) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(Box::new(record.clone()));
        }
    }
}
