//! Clippy, as the workspace's lints set it up.

use crate::shell::{Failure, Step};

/// Every crate, tests included; a warning is an error.
pub fn all() -> Result<(), Failure> {
    Step::new("cargo")
        .args(["clippy", "--workspace", "--all-targets", "--quiet"])
        .args(["--", "--deny", "warnings"])
        .run()
}
