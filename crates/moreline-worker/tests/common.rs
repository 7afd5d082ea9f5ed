//! Where test material lies.

use std::path::PathBuf;

use moreline_protocol::job::Resources;
use tch::Device;

/// Where the tests compute: `MORELINE_TEST_DEVICE` (`cuda:0`), the CPU if unset.
pub(crate) fn resources() -> Resources {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one setting of the tests themselves"
    )]
    let device = std::env::var("MORELINE_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
    Resources::on(&device)
}

/// The device of [`resources`]. Decides how fp32 matrices are multiplied before
/// a test multiplies any: while one thread tries, the others' products may round.
pub(crate) fn device() -> Device {
    let (device, _) = moreline_worker::device::prepare(&resources()).expect("the device");
    device
}

/// `tests/golden`.
pub(crate) fn golden_dir() -> PathBuf {
    device();
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The demo model that `make setup` fetches.
pub(crate) fn smollm2() -> PathBuf {
    device();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../models/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(
        path.exists(),
        "{} is missing: run `make setup`",
        path.display()
    );
    path
}
