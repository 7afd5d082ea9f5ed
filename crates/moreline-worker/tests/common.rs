//! Where test material lies.

use std::path::PathBuf;

use moreline_protocol::job::Resources;
use moreline_worker::device;

/// Decides how fp32 matrices are multiplied before a test multiplies any: while
/// one thread tries, the others' products may round.
fn ready() {
    device::prepare(&Resources::default()).expect("a CPU");
}

/// `tests/golden`.
pub(crate) fn golden_dir() -> PathBuf {
    ready();
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The demo model that `make setup` fetches.
pub(crate) fn smollm2() -> PathBuf {
    ready();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../models/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(
        path.exists(),
        "{} is missing: run `make setup`",
        path.display()
    );
    path
}
