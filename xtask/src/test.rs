//! Every test, in the order in which a failure is cheapest to learn of.

use crate::shell::{Failure, Step, root};
use crate::{build, setup, tidy};

/// What CI runs.
pub fn all() -> Result<(), Failure> {
    setup::install(setup::Purpose::Test)?;
    tidy::check(&root())?;
    Step::new("cargo").args(["fmt", "--all", "--check"]).run()?;
    build::console()?;
    Step::new("npm")
        .args(["test"])
        .within("controller/console")
        .run()?;
    build::product()?;
    Step::new("cargo")
        .args(["nextest", "run", "--workspace", "--no-fail-fast"])
        .run()?;
    Step::new(build::binary("cordon-lab"))
        .args(["demo", "--once", "--json"])
        .run()
}
