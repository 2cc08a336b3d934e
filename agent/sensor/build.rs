//! Compiles the eBPF programs and writes their Rust skeleton to the build folder.

use std::path::PathBuf;

use libbpf_cargo::SkeletonBuilder;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=bpf");
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("sensor.skel.rs");
    SkeletonBuilder::new()
        .source("bpf/sensor.bpf.c")
        .clang_args([
            // Atomic operations that answer (Linux 5.12).
            "-mcpu=v3",
            "-Wall",
            "-Wno-missing-declarations",
            "-Wno-unused-parameter",
        ])
        .build_and_generate(&out)
        .map_err(|error| {
            format!(
                "cannot build agent/sensor/bpf/sensor.bpf.c: {error:#}; \
                 clang, libelf-dev and zlib1g-dev are needed (cargo xtask setup installs them)"
            )
        })?;
    Ok(())
}
