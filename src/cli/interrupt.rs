//! Ctrl-C: the first stops cleanly, the second at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::EXIT_INTERRUPTED;
use super::terminal;

/// A flag that is set by the first interrupt.
pub(super) fn flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&flag);
    // Without a handler an interrupt ends the process at once, which is safe
    // too: workers die with it and nothing half done is committed.
    let _ = ctrlc::set_handler(move || {
        if shared.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
        terminal::error("\nstopping; press Ctrl-C again to leave at once\n");
    });
    flag
}
