//! The kit: tools that scenarios use and this machine may lack.
//!
//! Debian packages are fetched and unpacked into a folder that only nodes see. They are not installed, so that no
//! service starts and nothing of the machine changes. Where there is no `apt-get`, scenarios that need them are left out.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// What is fetched, with what each depends on and this machine has not.
const PACKAGES: &[&str] = &[
    "age",
    "at",
    "autossh",
    "bind9-dnsutils",
    "bubblewrap",
    "busybox",
    "cmake",
    "cpio",
    "cron",
    "expect",
    "gawk",
    "gdb",
    "gdbserver",
    "git",
    "imagemagick",
    "inotify-tools",
    "lftp",
    "logrotate",
    "lua-socket",
    "lua5.4",
    "makeself",
    "minisign",
    "mksh",
    "netcat-openbsd",
    "nginx-light",
    "ninja-build",
    "openssh-server",
    "p7zip-full",
    "pass",
    "php8.2-cli",
    "pigz",
    "postgresql-15",
    "redis-server",
    "restic",
    "rsync",
    "ruby",
    "screen",
    "signify-openbsd",
    "socat",
    "sqlite3",
    "squashfs-tools",
    "sshpass",
    "strace",
    "sudo",
    "tcc",
    "tcl",
    "tcpdump",
    "tmux",
    "wireguard-tools",
    "zip",
    "zsh",
];
/// Names that packages make when they are installed.
const LINKS: &[(&str, &str)] = &[
    ("convert-im6.q16", "usr/bin/convert"),
    ("identify-im6.q16", "usr/bin/identify"),
    ("mogrify-im6.q16", "usr/bin/mogrify"),
    ("php8.2", "usr/bin/php"),
    ("lua5.4", "usr/bin/lua"),
    ("nc.openbsd", "usr/bin/nc"),
];
/// Nobody reads these in a node.
const UNREAD: &[&str] = &[
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/zsh/help",
];
const DONE: &str = "made-by";
/// What names the packages and makes the tree: one that any other text made is made again.
const MADE_BY: &str = include_str!("kit.rs");

/// Unpacks the kit below `dir` unless it is there; answers the folder with its files.
pub fn prepare(dir: &Path) -> Result<PathBuf> {
    let tree = dir.join("tree");
    if std::fs::read_to_string(dir.join(DONE)).is_ok_and(|done| done == MADE_BY) {
        return Ok(tree);
    }
    eprintln!("fetching the tools of the scenarios: once, for nodes only");
    if tree.exists() {
        std::fs::remove_dir_all(&tree).with_context(|| format!("remove {}", tree.display()))?;
    }
    let archives = dir.join("archives");
    make(&archives.join("partial"))?;
    make(&tree.join("var/lib/dpkg/info"))?;
    fetch(&archives)?;
    for file in list(&archives)? {
        unpack(&file, &tree).with_context(|| format!("unpack {}", file.display()))?;
    }
    finish(&tree)?;
    std::fs::write(dir.join(DONE), MADE_BY)
        .with_context(|| format!("write {}/{DONE}", dir.display()))?;
    Ok(tree)
}

/// Whether a program is on this machine or in the kit.
pub fn has(tree: Option<&Path>, tool: &str) -> bool {
    let tool = tool.trim_start_matches('/');
    let places = ["", "usr/bin", "usr/sbin", "usr/local/bin"];
    let roots = [Some(Path::new("/")), tree];
    roots.into_iter().flatten().any(|root| {
        places
            .iter()
            .any(|place| root.join(place).join(tool).exists())
    })
}

fn fetch(archives: &Path) -> Result<()> {
    let get = || {
        let mut command = Command::new("apt-get");
        command
            .args(["-y", "-qq", "--no-install-recommends", "--download-only"])
            .arg("-o")
            .arg(format!("Dir::Cache::archives={}", archives.display()))
            .arg("install")
            .args(PACKAGES);
        run(&mut command)
    };
    if get().is_ok() {
        return Ok(());
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    get()
}

/// On a machine whose `/bin` is a link, as Debian's are, what a package puts there goes where the link leads.
fn unpack(archive: &Path, tree: &Path) -> Result<()> {
    for (name, target) in [
        ("bin", "usr/bin"),
        ("sbin", "usr/sbin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
    ] {
        let link = tree.join(name);
        if !link.is_symlink() && Path::new("/").join(name).is_symlink() {
            make(&tree.join(target))?;
            std::os::unix::fs::symlink(target, &link)
                .with_context(|| format!("link {}", link.display()))?;
        }
    }
    let script = "dpkg-deb --fsys-tarfile \"$1\" | tar -x --keep-directory-symlink -C \"$2\"";
    run(Command::new("bash")
        .args(["-o", "pipefail", "-c", script, "unpack"])
        .args([archive, tree]))?;
    own(archive, tree)
}

/// Tells the node's dpkg which files are the package's.
fn own(archive: &Path, tree: &Path) -> Result<()> {
    let name = output(
        Command::new("dpkg-deb")
            .arg("-f")
            .arg(archive)
            .arg("Package"),
    )?;
    let script = "dpkg-deb --fsys-tarfile \"$1\" | tar -t";
    let listed = output(
        Command::new("bash")
            .args(["-o", "pipefail", "-c", script, "list"])
            .arg(archive),
    )?;
    let list = tree.join(format!("var/lib/dpkg/info/{}.list", name.trim()));
    std::fs::write(&list, paths_of(&listed)).with_context(|| format!("write {}", list.display()))
}

/// What `tar -t` lists of a package, as dpkg writes down whose files are whose. The root is `/.`: of an empty name dpkg
/// says that its database is broken, and does nothing more.
fn paths_of(listed: &str) -> String {
    let mut paths = String::new();
    for line in listed.lines() {
        let path = line.trim_start_matches('.').trim_end_matches('/');
        paths.push_str(if path.is_empty() { "/." } else { path });
        paths.push('\n');
    }
    paths
}

fn finish(tree: &Path) -> Result<()> {
    for name in UNREAD {
        let path = tree.join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        let link = tree.join(name);
        if link.is_symlink() {
            std::fs::remove_file(&link).with_context(|| format!("remove {}", link.display()))?;
        }
    }
    for (to, name) in LINKS {
        let link = tree.join(name);
        if !link.exists() && link.with_file_name(to).exists() {
            std::os::unix::fs::symlink(to, &link)
                .with_context(|| format!("link {}", link.display()))?;
        }
    }
    Ok(())
}

fn list(archives: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(archives).with_context(|| format!("list {}", archives.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    files.sort();
    Ok(files)
}

fn make(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))
}

fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{} ended with {}: {}",
        command.get_program().display(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_owns_the_root_and_no_empty_name() {
        let listed = "./\n./usr/\n./usr/bin/x\n./etc/.x\n";
        assert_eq!(paths_of(listed), "/.\n/usr\n/usr/bin/x\n/etc/.x\n");
    }
}
