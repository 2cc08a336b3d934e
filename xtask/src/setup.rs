//! Installs what the machine lacks, says what and why, and does nothing the second time.

use std::path::Path;

use crate::shell::{Failure, Step};

/// What the machine is being prepared for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Build the product and run the lab.
    Run,
    /// Also run every test.
    Test,
}

impl Purpose {
    pub fn from_arguments(arguments: &[String]) -> Result<Self, Failure> {
        match arguments {
            [] => Ok(Self::Run),
            [only] if only == "--test" => Ok(Self::Test),
            _ => Err(Failure::new("setup takes only --test")),
        }
    }
}

/// A Debian package, the file that shows it is there, and what it is for.
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
        "compiles the C parts of libraries; the demo's ordinary work",
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
    package("iputils-ping", "/usr/bin/ping", "the lab's probes"),
    package("procps", "/usr/bin/ps", "the lab's ordinary work"),
    package("perl", "/usr/bin/perl", "the demo's attack"),
    package("python3", "/usr/bin/python3", "the lab's scenarios"),
    package("curl", "/usr/bin/curl", "the lab's scenarios"),
    package("socat", "/usr/bin/socat", "the lab's scenarios"),
    package(
        "netcat-openbsd",
        "/usr/bin/nc.openbsd",
        "the lab's scenarios",
    ),
    package(
        "dropbear-bin",
        "/usr/sbin/dropbear",
        "an ssh server for the lab; starts no service",
    ),
    package(
        "openssh-client",
        "/usr/bin/ssh",
        "the lab's administration session",
    ),
];

const FOR_TESTING: &[Package] = &[package(
    "chromium",
    "/usr/bin/chromium",
    "the console's tests drive a real browser",
)];

const NODE: &[Package] = &[
    package("nodejs", "/usr/bin/node", "builds the console"),
    package("npm", "/usr/bin/npm", "builds the console"),
];

/// Installs what is missing for `purpose`.
pub fn install(purpose: Purpose) -> Result<(), Failure> {
    let mut wanted: Vec<&Package> = FOR_RUNNING.iter().collect();
    if purpose == Purpose::Test {
        wanted.extend(FOR_TESTING);
    }
    // Another node than Debian's may be first on the path; it serves as well.
    if !Step::new("npm").arg("--version").succeeds() {
        wanted.extend(NODE);
    }
    let missing: Vec<&Package> = wanted
        .into_iter()
        .filter(|package| !Path::new(package.witness).exists())
        .collect();
    install_packages(&missing)?;
    if purpose == Purpose::Test {
        install_nextest()?;
    }
    Ok(())
}

fn install_packages(missing: &[&Package]) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    for package in missing {
        eprintln!("setup: {} is missing: {}", package.name, package.why);
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(Failure::new(
            "this machine has no apt-get: install the packages above by hand, then run again",
        ));
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
        .map_err(|failure| Failure::new(format!("{failure}; setup must run as root")))
}

fn install_nextest() -> Result<(), Failure> {
    if Step::new("cargo").args(["nextest", "--version"]).succeeds() {
        return Ok(());
    }
    eprintln!("setup: cargo-nextest is missing: runs the tests, each in its own process");
    Step::new("cargo")
        .args(["install", "--locked", "cargo-nextest"])
        .run()
}
