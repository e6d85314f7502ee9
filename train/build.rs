//! Lets the program find `libxgboost.so.3`: beside itself as installed, or where `make setup` put it.

fn main() {
    // Not when a test changes. Where the library lies is told by another build script, with which this one runs again.
    println!("cargo:rerun-if-changed=build.rs");
    let library = std::env::var("DEP_ENGAGEMENT_XGBOOST_LIB").unwrap_or_default();
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib:{library}");
}
