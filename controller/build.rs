//! Tells cargo to look at the console's build again whenever it changes.
//!
//! The folder is made when it is not there (it is ignored by git, and an empty one counts as no
//! console): cargo can watch a folder that exists, but takes a missing one for changed at every build.

fn main() {
    let dist = std::path::Path::new("console/dist");
    if let Err(error) = std::fs::create_dir_all(dist) {
        println!("cargo::warning=cannot make {}: {error}", dist.display());
    }
    println!("cargo::rerun-if-changed=console/dist");
    println!("cargo::rerun-if-changed=build.rs");
}
