//! Finds the official XGBoost library that `make setup` unpacked, and tells the linker and the dependents where it is.
//!
//! `XGBOOST_LIB_DIR` names another folder; it must hold `libxgboost.so` and a link `libxgboost.so.3` to it.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=XGBOOST_LIB_DIR");
    println!("cargo:rerun-if-env-changed=XDG_CACHE_HOME");
    let folder = library_folder();
    let library = folder.join("libxgboost.so");
    println!("cargo:rerun-if-changed={}", library.display());
    assert!(library.exists(), "XGBoost is not at {}: run `make setup` first, or set XGBOOST_LIB_DIR", folder.display());
    println!("cargo:rustc-link-search=native={}", folder.display());
    // For this crate's own test programs; `train` and `predict` add theirs from DEP_ENGAGEMENT_XGBOOST_LIB.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    println!("cargo:lib={}", folder.display());
}

/// Where `scripts/setup-xgboost` unpacks the wheel unless told otherwise.
fn library_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("XGBOOST_LIB_DIR") {
        return folder.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"), PathBuf::from);
    cache.join("engagement-ml/xgboost-3.4.1/xgboost/lib")
}
