//! Lets the program find `libxgboost.so.3`: beside itself as installed, or where `make setup` put it.

fn main() {
    let library = std::env::var("DEP_ENGAGEMENT_XGBOOST_LIB").unwrap_or_default();
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib:{library}");
}
