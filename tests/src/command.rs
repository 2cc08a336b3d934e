//! What `cordon-lab` does from the command line, the demo aside.
#![expect(clippy::print_stdout, reason = "a command line tool talks to its user")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::fleet::{Fleet, FleetOptions};
use crate::lab::state::{ConsoleAccess, LabState, file, log_file, start_time};
use crate::lab::{Lab, LabOptions};
use crate::narrator::Narrator;

/// What the supervisor prints when all is up.
const READY: &str = "ready";

/// `up`: starts a supervisor in the background and returns when all is up.
pub fn up(name: &str, endpoints: u8, bare: bool) -> Result<ExitCode> {
    if LabState::load(name)?.is_some() {
        bail!("lab {name:?} is already up; end it with `cargo xtask lab down`");
    }
    let log = log_file(name);
    fs::create_dir_all(log.parent().context("the log has no folder")?)?;
    let mut supervisor = Command::new(program()?);
    supervisor
        .args(["--name", name, "supervise", "--endpoints"])
        .arg(endpoints.to_string());
    if bare {
        supervisor.arg("--bare");
    }
    let mut child = supervisor
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&log)?)
        .spawn()
        .context("cannot start the supervisor")?;
    let stdout = child.stdout.take().context("no standard output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if line == READY {
            return status(name, false);
        }
        println!("{line}");
    }
    child.wait()?;
    let complaint = fs::read_to_string(&log)?;
    fs::remove_file(&log)?;
    bail!("the lab did not come up: {}", complaint.trim());
}

/// `supervise`: holds a lab until a signal ends it. The kernel tidies up, as after any other death.
pub fn supervise(name: &str, endpoints: u8, bare: bool) -> Result<ExitCode> {
    nix::unistd::setsid().context("cannot leave the terminal")?;
    let options = LabOptions {
        endpoints,
        program: program()?,
    };
    let own = i32::try_from(std::process::id())?;
    let mut state = LabState {
        name: name.to_owned(),
        supervisor: own,
        supervisor_started: start_time(own).context("cannot read the own start time")?,
        switch: 0,
        nodes: Vec::new(),
        console: None,
    };
    let describe = |state: &mut LabState, lab: &Lab| -> Result<()> {
        state.switch = lab.switch().pid();
        state.nodes = lab.status()?;
        state.save()
    };
    if bare {
        let lab = Lab::up(&options)?;
        describe(&mut state, &lab)?;
        println!("{READY}");
        sleep_until_killed();
    }
    let narrator = Narrator::to_stdout();
    let mut fleet = Fleet::up(&FleetOptions::of(options), &narrator)?;
    state.console = Some(ConsoleAccess {
        url: format!("https://{}", fleet.open_console()?),
        user: fleet.site().admin_user.clone(),
        password: fleet.site().admin_password.clone(),
    });
    describe(&mut state, fleet.lab())?;
    println!("{READY}");
    sleep_until_killed();
}

/// A signal's default action ends the process, and with it every node.
pub fn sleep_until_killed() -> ! {
    loop {
        std::thread::park();
    }
}

/// `exec`.
pub fn exec(name: &str, node: &str, command: &[String]) -> Result<ExitCode> {
    let code = LabState::running(name)?.exec(node, command)?;
    Ok(ExitCode::from(code))
}

/// `cut` and `mend`.
pub fn set_link(name: &str, node: &str, up: bool) -> Result<ExitCode> {
    LabState::running(name)?.set_link(node, up)?;
    Ok(ExitCode::SUCCESS)
}

/// `status`.
pub fn status(name: &str, json: bool) -> Result<ExitCode> {
    let mut state = LabState::running(name)?;
    state.refresh()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&state)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("lab {:?}, held by process {}", state.name, state.supervisor);
    for node in &state.nodes {
        let link = if node.link_up { "up" } else { "cut" };
        let addresses = node.addresses.join(", ");
        println!("  {:<12} {link:<4} {addresses}", node.name);
    }
    if let Some(console) = &state.console {
        println!("console  {}", console.url);
        println!("sign in  {} / {}", console.user, console.password);
    }
    Ok(ExitCode::SUCCESS)
}

/// `down`: nothing to end is a success.
pub fn down(name: &str) -> Result<ExitCode> {
    match LabState::load(name)? {
        Some(state) => state.down()?,
        None => println!("no lab {name:?} is up"),
    }
    ensure!(!file(name).exists(), "the lab's state file is still there");
    Ok(ExitCode::SUCCESS)
}

/// The running program: nodes start from it, and the product's programs lie beside it.
pub fn program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find the own program")
}
