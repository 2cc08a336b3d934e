//! Installs what the machine lacks, says what and why, and does nothing the second time.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::shell::{Failure, Step, find};

/// What the machine is being prepared for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Build the product, run the lab and the demo.
    Run,
    /// Also run every test.
    Test,
    /// Also record the training scenarios.
    Record,
    /// Also measure Cordon beside other tools.
    Bench,
    /// Also boot virtual machines.
    Guest,
}

/// A Debian 12 package, the file that shows it is there, and what it is for.
struct Package {
    name: &'static str,
    witness: &'static str,
    why: &'static str,
}

const fn package(name: &'static str, witness: &'static str, why: &'static str) -> Package {
    Package { name, witness, why }
}

const FOR_RUNNING: &[Package] = &[
    package(
        "gcc",
        "/usr/bin/gcc",
        "compiles the C parts of libraries; part of the demo's ordinary work",
    ),
    package("libc6-dev", "/usr/include/stdio.h", "C headers"),
    package("make", "/usr/bin/make", "builds libbpf"),
    package("pkg-config", "/usr/bin/pkg-config", "finds C libraries"),
    package("clang", "/usr/bin/clang", "compiles the eBPF programs"),
    package(
        "libelf-dev",
        "/usr/include/libelf.h",
        "libbpf reads object files with it",
    ),
    package("zlib1g-dev", "/usr/include/zlib.h", "libbpf needs it"),
    package("nftables", "/usr/sbin/nft", "isolates hosts"),
    package("iproute2", "/usr/sbin/ip", "joins the lab's namespaces"),
    package(
        "util-linux",
        "/usr/bin/nsenter",
        "enters the lab's namespaces",
    ),
    package(
        "iputils-ping",
        "/usr/bin/ping",
        "what the demo's flawed web page runs",
    ),
    package(
        "procps",
        "/usr/bin/ps",
        "part of the demo's ordinary work; sysctl in tests",
    ),
    package("perl", "/usr/bin/perl", "the demo's attack"),
    package(
        "curl",
        "/usr/bin/curl",
        "asks for the console's pages; scenarios fetch with it",
    ),
    package("python3", "/usr/bin/python3", "the demo's web page"),
    package(
        "dropbear-bin",
        "/usr/sbin/dropbear",
        "an ssh server and client for the lab; starts no service",
    ),
];

const FOR_TESTING: &[Package] = &[
    package(
        "chromium",
        "/usr/bin/chromium",
        "the console's tests drive a real browser",
    ),
    package("g++", "/usr/bin/g++", "compiles the fuzzer"),
    package("git", "/usr/bin/git", "stores files in a test"),
    package("gnupg", "/usr/bin/gpg", "backs files up in a test"),
    package("openssl", "/usr/bin/openssl", "encrypts files in a test"),
];

const FOR_RECORDING: &[Package] = &[
    package("wget", "/usr/bin/wget", "scenarios fetch with it"),
    package("socat", "/usr/bin/socat", "scenarios connect with it"),
    package(
        "netcat-openbsd",
        "/usr/bin/nc.openbsd",
        "scenarios connect with it",
    ),
    package(
        "openssh-client",
        "/usr/bin/ssh",
        "scenarios administer with it",
    ),
];

/// Installed, not started: the bench starts each by itself, with a configuration of its own.
const FOR_BENCHES: &[Package] = &[
    package("auditd", "/usr/sbin/auditd", "what Cordon is compared with"),
    package("laurel", "/usr/sbin/laurel", "what Cordon is compared with"),
    package(
        "bpftrace",
        "/usr/bin/bpftrace",
        "what Cordon is compared with",
    ),
];

const FOR_GUESTS: &[Package] = &[
    package(
        "qemu-system-x86",
        "/usr/bin/qemu-system-x86_64",
        "emulates a machine",
    ),
    package("debootstrap", "/usr/sbin/debootstrap", "installs a guest"),
    package("e2fsprogs", "/sbin/mke2fs", "makes a guest's disk"),
];

/// Wanted where no node, or no npm, is on the path. Debian 12's (18) builds the console; so does any later one.
const NODE: &[Package] = &[
    package("nodejs", "/usr/bin/node", "builds the console"),
    package(
        "npm",
        "/usr/bin/npm",
        "fetches what the console is built with",
    ),
];

/// Installs what is missing for `purpose`. Where nothing is, it starts no program and needs no rights.
pub fn install(purpose: Purpose) -> Result<(), Failure> {
    install_packages(&missing(purpose))?;
    if purpose == Purpose::Test {
        install_nextest()?;
    }
    Ok(())
}

fn missing(purpose: Purpose) -> Vec<&'static Package> {
    let more: &[Package] = match purpose {
        Purpose::Run => &[],
        Purpose::Test => FOR_TESTING,
        Purpose::Record => FOR_RECORDING,
        Purpose::Bench => FOR_BENCHES,
        Purpose::Guest => FOR_GUESTS,
    };
    let node: &[Package] = match (find("node"), find("npm")) {
        (Some(_), Some(_)) => &[],
        _ => NODE,
    };
    [FOR_RUNNING, more, node]
        .into_iter()
        .flatten()
        .filter(|package| !Path::new(package.witness).exists())
        .collect()
}

fn install_packages(missing: &[&Package]) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    for package in missing {
        eprintln!("setup: {} is missing: {}", package.name, package.why);
    }
    if find("apt-get").is_none() {
        return Err(Failure::new(
            "this machine has no apt-get: install what is missing above by hand, then run again",
        ));
    }
    if !is_root() {
        let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
        return Err(Failure::new(format!(
            "only root may install packages: run `apt-get install {}` as root, then run again",
            names.join(" ")
        )));
    }
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(missing.iter().map(|package| package.name));
    apt(&arguments)
}

fn apt(arguments: &[&str]) -> Result<(), Failure> {
    Step::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .quiet()
        .run()
}

/// `/proc/self` belongs to whoever runs this.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

fn install_nextest() -> Result<(), Failure> {
    if find("cargo-nextest").is_some() || cargo_home().join("bin/cargo-nextest").exists() {
        return Ok(());
    }
    eprintln!("setup: cargo-nextest is missing: runs the tests, each in its own process");
    Step::new("cargo")
        .args(["install", "--locked", "cargo-nextest"])
        .quiet()
        .run()
}

fn cargo_home() -> PathBuf {
    std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    )
}
