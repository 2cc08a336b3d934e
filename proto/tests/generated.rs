//! The committed bindings are what the `.proto` file generates, to the letter.
//!
//! After changing the `.proto` file: `CORDON_UPDATE=1 cargo test -p cordon-proto --test generated`.

use std::fs;
use std::path::Path;

#[test]
fn generated_bindings_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = std::env::temp_dir().join(format!("cordon-proto-{}", std::process::id()));
    fs::create_dir_all(&out).unwrap();
    let descriptors = protox::compile(["cordon/v1/fleet.proto"], [root.join("proto")]).unwrap();
    tonic_prost_build::configure()
        .out_dir(&out)
        .build_transport(true)
        .compile_fds(descriptors)
        .unwrap();
    let generated = fs::read_to_string(out.join("cordon.v1.rs")).unwrap();
    fs::remove_dir_all(&out).unwrap();

    let committed = root.join("src/generated/cordon.v1.rs");
    if std::env::var_os("CORDON_UPDATE").is_some() {
        fs::write(&committed, &generated).unwrap();
    }
    assert!(
        fs::read_to_string(&committed).unwrap() == generated,
        "src/generated/cordon.v1.rs is stale: run `CORDON_UPDATE=1 cargo test -p cordon-proto --test generated`"
    );
}
