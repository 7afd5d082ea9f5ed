//! Compiles the C++ shim against the libtorch that torch-sys links.
#![expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts so"
)]

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        println!("cargo:warning=torch-sys named no libtorch; run `make setup` first");
        return;
    };
    let include = match std::env::var_os("LIBTORCH") {
        Some(root) => PathBuf::from(root).join("include"),
        None => lib.with_file_name("include"),
    };
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17");
    // Without OpenMP `at::parallel_for` runs its body on one thread. That of
    // libtorch is GCC's, whose functions clang does not call.
    let parallel = !build.get_compiler().is_like_clang();
    if parallel {
        build.flag("-fopenmp");
    } else {
        println!("cargo:warning=without g++ the kernels of torch-ext-sys run on one thread");
    }
    build
        .warnings(false)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .flag(format!("-isystem{}", include.display()))
        .flag(format!(
            "-isystem{}",
            include.join("torch/csrc/api/include").display()
        ))
        .file("src/shim.cpp")
        .file("src/fused.cpp")
        .file("src/rowwise.cpp")
        .file("src/attention.cpp")
        .file("src/rounding.cpp")
        .compile("torch_ext_shim");
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    if parallel {
        println!("cargo:rustc-link-lib={}", openmp(&lib));
    }
    // Programs that link this crate need the run path as well.
    println!("cargo:lib={}", lib.display());
}

/// The OpenMP that libtorch brings: another one would have threads of its own
/// beside those of libtorch.
fn openmp(lib: &Path) -> String {
    let names = std::fs::read_dir(lib).into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .find(|name| name.starts_with("libgomp"))
        .map_or_else(|| "gomp".into(), |name| format!("dylib:+verbatim={name}"))
}
