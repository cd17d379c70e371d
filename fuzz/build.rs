//! The fixtures and the shipped configuration are the repository's, a folder up.

fn main() {
    println!("cargo::rustc-env=RELAY_ROOT={}/..", env!("CARGO_MANIFEST_DIR"));
}
