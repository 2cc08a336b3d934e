//! The product's main job on real input: ordinary work stays unharmed, an attack is judged on the
//! endpoint, cut off, told, and undone. Every answer is checked; nothing here is assumed.

mod attack;
mod ordinary;
mod reach;
mod receiver;
mod steps;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

pub use attack::{Attack, is_cut_off};
pub(crate) use attack::{WEB_PORT, encode};
pub use ordinary::ordinary_work;
pub use reach::{Reach, Standing, peers_of};
pub use receiver::{Receiver, SECRET};

use crate::command::sleep_until_killed;
use crate::narrator::Narrator;
use steps::Demo;

/// What the demo found, and what `--json` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "it is the printed object: one answer a question"
)]
pub struct Outcome {
    /// The attack was judged malicious, and the ordinary work before it was not.
    pub detected: bool,
    /// The endpoint was cut off, with the agent's own proof.
    pub isolated: bool,
    /// From the kernel's stamp of the judged event to the rules being in force.
    pub time_to_contain_ms: Option<f64>,
    /// The agent's line to the controller carried on.
    pub controller_reachable: bool,
    /// Everything else, both ways, both families, standing connections too, was dead.
    pub forbidden_blocked: bool,
    /// An order opened it again.
    pub released: bool,
}

impl Outcome {
    /// Whether every part held.
    pub fn holds(&self) -> bool {
        self.detected
            && self.isolated
            && self.time_to_contain_ms.is_some()
            && self.controller_reachable
            && self.forbidden_blocked
            && self.released
    }
}

/// `cordon-lab demo`. A step that cannot be carried out ends the demo; what was found until then is
/// still printed, and the exit code says that it is not all.
pub fn run(once: bool, json: bool) -> Result<ExitCode> {
    let narrator = if json {
        Narrator::to_stderr()
    } else {
        Narrator::to_stdout()
    };
    let mut outcome = Outcome::default();
    let played = Demo::up(&narrator).and_then(|mut demo| {
        demo.play(&mut outcome)?;
        demo.farewell()?;
        Ok(demo)
    });
    if json {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", serde_json::to_string(&outcome)?)?;
        stdout.flush()?;
    }
    let demo = played?;
    if !once {
        narrator.plain("\nThe lab stays up until Ctrl-C.");
        sleep_until_killed();
    }
    drop(demo);
    Ok(ExitCode::from(u8::from(!outcome.holds())))
}
