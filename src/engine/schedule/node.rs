//! Where a stage of a run stands.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use moreline_protocol::event::Metrics;

use crate::engine::StageFailure;
use crate::engine::resolve::{Outputs, ReadyStage};
use crate::event::Outcome;
use crate::plan::StageKey;
use crate::store::ApiCost;

/// Where a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not asked for.
    Unwanted,
    /// Something it depends on is not done.
    Waiting,
    /// It has to be computed, when there is room.
    Queued,
    Running,
    Over(Outcome),
}

/// A stage of a run.
pub(super) struct Node {
    pub(super) phase: Phase,
    /// It is computed though its result is there, once.
    pub(super) forced: bool,
    /// Stages it depends on that are not done.
    pub(super) pending: usize,
    /// While it is made anew: the stages that wait for it. Otherwise all that
    /// depend on it do.
    pub(super) waiters: Option<Vec<usize>>,
    pub(super) rebuilds: u32,
    /// While it is made anew: what it gave before.
    pub(super) replaced: Option<Arc<Outputs>>,
    /// While it is at work: something it took was found damaged.
    pub(super) tainted: Arc<AtomicBool>,
    /// While it is at work: something it took was replaced.
    pub(super) stale: bool,
    pub(super) ready: Option<(ReadyStage, String)>,
    pub(super) outputs: Option<Arc<Outputs>>,
    pub(super) key: Option<StageKey>,
    pub(super) seconds: f64,
    pub(super) metrics: Option<Metrics>,
    pub(super) cost: Option<ApiCost>,
    pub(super) error: Option<StageFailure>,
}

impl Node {
    pub(super) fn new(wanted: bool, forced: bool, pending: usize) -> Self {
        Self {
            phase: if wanted {
                Phase::Waiting
            } else {
                Phase::Unwanted
            },
            forced,
            pending,
            waiters: None,
            rebuilds: 0,
            replaced: None,
            tainted: Arc::default(),
            stale: false,
            ready: None,
            outputs: None,
            key: None,
            seconds: 0.0,
            metrics: None,
            cost: None,
            error: None,
        }
    }
}
