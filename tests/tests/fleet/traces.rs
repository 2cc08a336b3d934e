//! What is left when the whole fleet dies.

use std::fs;
use std::process::{Command, Stdio};

use cordon_tests::lab::state::start_time;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

/// Programs of the product that run now.
fn product_processes() -> Vec<i32> {
    let is_ours = |pid: &i32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.starts_with("cordon-agent") || name.starts_with("cordon-control")
    };
    let pids = fs::read_dir("/proc").unwrap();
    pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(is_ours)
        .collect()
}

#[test]
fn a_killed_demo_leaves_no_process_behind() {
    let before = product_processes();
    let mut demo = Command::new(program())
        .args(["demo", "--once"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ours = || {
        let new = product_processes();
        let new: Vec<i32> = new
            .into_iter()
            .filter(|pid| !before.contains(pid))
            .collect();
        Ok((new.len() >= 4).then_some(new))
    };
    let running = wait::until("the demo's programs", LIMIT, ours).unwrap();
    kill(Pid::from_raw(demo.id() as i32), Signal::SIGKILL).unwrap();
    demo.wait().unwrap();
    let gone = || {
        let left = running.iter().any(|pid| start_time(*pid).is_some());
        Ok((!left).then_some(()))
    };
    wait::until("the end of the demo's programs", LIMIT, gone).unwrap();
}
