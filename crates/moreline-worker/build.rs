//! Lets the worker's programs and tests find libtorch where it was linked.

fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TORCH_EXT_LIB");
    // Set by torch-ext-sys' build script; link arguments do not reach dependants.
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo speaks to build scripts so"
    )]
    let lib = std::env::var_os("DEP_TORCH_EXT_LIB");
    if let Some(lib) = lib {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.to_string_lossy());
    }
}
