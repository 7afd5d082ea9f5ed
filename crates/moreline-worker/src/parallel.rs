//! Work on rows, spread over the threads that the worker may use.

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

/// Lets [`map`] use `threads` threads, from now on in this process; the first
/// call counts.
pub fn limit(threads: usize) {
    // An error says that there was a call before: its threads stay.
    let _ = ThreadPoolBuilder::new().num_threads(threads).build_global();
}

/// `each` of every item, in order.
pub fn map<T: Sync, R: Send>(items: &[T], each: impl Fn(&T) -> R + Send + Sync) -> Vec<R> {
    items.par_iter().map(each).collect()
}
