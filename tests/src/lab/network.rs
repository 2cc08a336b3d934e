//! The wires: a bridge in the switch's namespace, one cable to each node, addresses on it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::node::Node;
use crate::wait;

const LINK_LIMIT: Duration = Duration::from_secs(10);

/// Joins the nodes. Each cable's end at the switch is named after the node.
pub(super) fn join(switch: &Node, nodes: &[Node]) -> Result<()> {
    let mut at_switch = String::from(
        "link set lo up\n\
         link add br0 type bridge stp_state 0 mcast_snooping 0\n\
         link set br0 up\n",
    );
    for node in nodes {
        let (name, pid) = (node.name(), node.pid());
        writeln!(
            at_switch,
            "link add {name} type veth peer name eth0 netns {pid}"
        )?;
        writeln!(at_switch, "link set {name} master br0 up")?;
    }
    batch(switch, &at_switch).context("cannot build the switch")?;
    for node in nodes {
        let (v4, v6) = (node.address_v4(), node.address_v6());
        let at_node = format!(
            "link set lo up\n\
             address add {v4}/24 dev eth0\n\
             address add {v6}/64 dev eth0 nodad\n\
             link set eth0 up\n"
        );
        batch(node, &at_node).with_context(|| format!("cannot set up {}", node.name()))?;
    }
    nodes
        .iter()
        .try_for_each(|node| set_link(switch, node.name(), true))
}

/// Joins a node's cable to a tap device, by a bridge that has no address and says nothing itself.
pub(super) fn stand_in(node: &Node, tap: &str) -> Result<()> {
    let commands = format!(
        "address flush dev eth0\n\
         link add br0 type bridge stp_state 0 mcast_snooping 0\n\
         tuntap add dev {tap} mode tap\n\
         link set br0 addrgenmode none\n\
         link set {tap} addrgenmode none\n\
         link set {tap} master br0\n\
         link set eth0 master br0\n\
         link set {tap} up\n\
         link set br0 up\n"
    );
    batch(node, &commands).with_context(|| format!("cannot join {tap} to {}", node.name()))
}

/// Pulls a node's cable, or plugs it in, and waits until the switch has noticed: the kernel tells
/// of a carrier with up to a second's delay, and forwards nothing before.
pub(super) fn set_link(switch: &Node, cable: &str, up: bool) -> Result<()> {
    let state = if up { "up" } else { "down" };
    batch(switch, &format!("link set {cable} {state}\n"))
        .with_context(|| format!("cannot set the cable of {cable} {state}"))?;
    let wanted = if up { "UP" } else { "DOWN" };
    wait::until(&format!("cable of {cable} {state}"), LINK_LIMIT, || {
        let link = show_link(switch.pid(), cable)?;
        Ok((link["operstate"] == wanted).then_some(()))
    })
}

/// Whether a node's cable is plugged in.
pub(super) fn link_is_up(switch_pid: i32, cable: &str) -> Result<bool> {
    Ok(show_link(switch_pid, cable)?["operstate"] == "UP")
}

fn show_link(switch_pid: i32, cable: &str) -> Result<Value> {
    let output = in_network(switch_pid)
        .args(["-json", "link", "show", "dev", cable])
        .output()
        .context("cannot run ip (package iproute2)")?;
    let links: Value = serde_json::from_slice(&output.stdout)?;
    Ok(links[0].clone())
}

fn batch(node: &Node, commands: &str) -> Result<()> {
    let mut child = in_network(node.pid())
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run nsenter and ip (packages util-linux, iproute2)")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(commands.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip: {}", complaint.trim());
    Ok(())
}

/// `ip` with the node's network but the machine's `/proc`, so that pids mean what they mean here.
fn in_network(pid: i32) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).arg("ip");
    command
}
