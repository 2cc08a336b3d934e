//! `cargo xtask vm`: a Debian 12 of its own, with systemd and Debian's own kernel (6.1), in QEMU without KVM.
//!
//! What the lab cannot show is shown here: another kernel than this machine's, and a host that boots. The image is made
//! once, from packages; each run starts from it anew and changes nothing in it. A folder is shared with the guest: its
//! `run` is executed there as root, and what it says and how it ended are found in the same folder. What it writes to its
//! second serial line is seen here at once. The guests that have a controller are run by `cordon-bench`, in a lab.

mod image;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::build;
use crate::setup::{self, Purpose};
use crate::shell::{Failure, Step, root};
use image::Image;

/// Emulated, so ten to thirty times slower than the machine itself.
const BOOT_SECONDS: u64 = 900;
/// One test program may take so long in the guest; then it is ended, and the next begins.
const PROGRAM_SECONDS: u64 = 900;

/// The kernel's command line. A unit that is slow to start on a busy machine has not failed.
const KERNEL: &str = "root=/dev/vda rw console=ttyS0 quiet systemd.default_timeout_start_sec=800 \
                      systemd.default_device_timeout_sec=800";

/// What the sensor's tests read at run time.
const DATA: &str = "agent/sensor/tests/data";

/// What the script of [`script`] begins with. `one PROGRAM [FILTER...]` runs a test program from the guest's own disk,
/// because every test that starts itself again would read it through the shared folder once more.
const RUN: &str = r#"#!/bin/sh
failed=0
say() {
	echo "$*"
	echo "$*" >/dev/ttyS1
}
# What a test leaves that was ended: its cgroups, with whatever storms in them.
clean() {
	for group in /sys/fs/cgroup/cordon-*; do
		[ -e "$group" ] || continue
		say "  $1 left $group"
		echo 1 >"$group/cgroup.kill"
		find "$group" -depth -type d -exec rmdir {} +
	done
}
one() {
	name=$1
	shift
	say "vm: $name ..."
	began=$(date +%s)
	cp "/share/$name" /var/tmp/
	timeout -k 10 "$SECONDS_EACH" "/var/tmp/$name" --test-threads=1 "$@" >>"/share/$name.log" 2>&1
	code=$?
	rm "/var/tmp/$name"
	case $code in
	0) how=ok ;;
	124 | 137) how="NOT DONE within $SECONDS_EACH s" ;;
	*) how="FAILED ($code)" ;;
	esac
	if [ $code != 0 ]; then
		failed=1
		echo "$name" >>/share/failed
	fi
	say "vm: $name $how, $(($(date +%s) - began)) s"
	clean "$name"
}
say "vm: Linux $(uname -r)"
"#;

/// Refuses a typing mistake before anything is installed or built.
pub fn check(arguments: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["sensor", ..] | ["contain" | "protect"] | ["contain" | "protect", "--json", _] => Ok(()),
        _ => Err(Failure::new(
            "wants: sensor [PROGRAM[::TEST] ...], contain [--json FILE], or protect [--json FILE]",
        )),
    }
}

/// Runs one of the guest's jobs.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    match arguments.split_first() {
        Some((job, wanted)) if job == "sensor" => sensor(wanted),
        // What leaves an isolated host that boots.
        Some((job, options)) if job == "contain" => bench("reboot", options),
        Some((_, options)) => bench("protect", options),
        None => check(arguments),
    }
}

/// A bench of the lab runs the guest, in a network of the lab.
fn bench(name: &str, options: &[String]) -> Result<(), Failure> {
    setup::install(Purpose::Guest)?;
    build::product()?;
    let step = Step::new(build::binary("cordon-bench"))
        .args([name])
        .args(options)
        .args(["--"])
        .args(machine(&image::image()?));
    Err(step.replace())
}

/// The sensor's own tests, on the guest's kernel: all of them, or the programs and tests in `wanted`.
fn sensor(wanted: &[String]) -> Result<(), Failure> {
    setup::install(Purpose::Guest)?;
    let programs = build::tests_of("cordon-sensor")?;
    let named = programs.iter().map(|path| (name_of(path), path.as_path()));
    let programs: Vec<Program<'_>> = named.collect();
    let runs = chosen(&programs, wanted)?;
    let share = fresh(&folder().join("share"))?;
    for (name, program) in &programs {
        if runs.iter().any(|(run, _)| run == name) {
            lighten(program, &share.join(name))?;
        }
    }
    let data = root().join(DATA);
    Step::new("cp")
        .args(["-r".as_ref(), data.as_os_str(), share.as_os_str()])
        .run()?;
    // Where cargo has tests put their files: beside the folder of the profile.
    let first = programs.first().map(|(_, path)| *path);
    let target = first.and_then(|path| path.ancestors().nth(3));
    let places = [data.as_path(), &target.unwrap_or(&data).join("tmp")];
    write(&share.join("run"), script(&runs, places).as_bytes())?;
    executable(&share.join("run"))?;
    boot(&image::image()?, &share, runs.len() as u64)
}

/// Cargo adds a hash to the name.
fn name_of(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('-')
        .map_or_else(|| name.to_string(), |(name, _)| name.to_owned())
}

/// A test program's name and where it is.
type Program<'a> = (String, &'a Path);

/// Programs to run, each with the name of a test or nothing for all of its tests.
type Runs = Vec<(String, String)>;

fn chosen(programs: &[Program<'_>], wanted: &[String]) -> Result<Runs, Failure> {
    let names = programs.iter().map(|(name, _)| name.clone());
    if wanted.is_empty() {
        return Ok(names.map(|name| (name, String::new())).collect());
    }
    let names: Vec<String> = names.collect();
    let one = |word: &String| {
        let (name, test) = word.split_once("::").unwrap_or((word, ""));
        let Some((_, path)) = programs.iter().find(|(known, _)| known == name) else {
            return Err(Failure::new(format!(
                "the sensor has no test program {name:?}, only {}",
                names.join(" ")
            )));
        };
        if runs_any(path, test)? {
            return Ok((name.to_owned(), test.to_owned()));
        }
        Err(Failure::new(format!(
            "{name} runs no test that has {test:?} in its name: {} --list names them",
            path.display()
        )))
    };
    wanted.iter().map(one).collect()
}

/// Whether a test program runs anything for a filter: it would pass with nothing too. Tests that it ignores
/// are run by others of its tests.
fn runs_any(program: &Path, filter: &str) -> Result<bool, Failure> {
    let count = |more: &[&str]| -> Result<usize, Failure> {
        let list = Step::new(program)
            .args([filter, "--list", "--format", "terse"])
            .args(more);
        Ok(list.read()?.lines().count())
    };
    Ok(count(&[])? > count(&["--ignored"])?)
}

/// What the guest runs. `data` is where the tests look for files beside their source, `files` where they put theirs.
fn script(runs: &Runs, [data, files]: [&Path; 2]) -> String {
    let lines = runs
        .iter()
        .map(|(name, test)| format!("one {name} {test}\n"));
    let lines: String = lines.collect();
    let limit = format!("SECONDS_EACH={PROGRAM_SECONDS}\n");
    let (data, files) = (data.display(), files.display());
    let places = format!("mkdir -p {files} {data} && rmdir {data} && ln -s /share/data {data}\n");
    [RUN, &limit, &places, &lines, "exit $failed\n"].concat()
}

/// Copies a program without what only a debugger reads: the guest would read that through an emulated wire.
fn lighten(from: &Path, to: &Path) -> Result<(), Failure> {
    Step::new("strip")
        .args(["--strip-debug".as_ref(), "-o".as_ref(), to.as_os_str()])
        .args([from])
        .run()
}

/// Boots the guest, waits for its end, shows what failed.
fn boot(image: &Image, share: &Path, programs: u64) -> Result<(), Failure> {
    eprintln!("vm: booting");
    let console = share.join("console");
    let status = ended(qemu(image, share, &console), share, programs)?;
    for name in fs::read_to_string(share.join("failed"))
        .unwrap_or_default()
        .lines()
    {
        let said = fs::read(share.join(format!("{name}.log"))).unwrap_or_default();
        eprintln!("== {name}\n{}", String::from_utf8_lossy(&said));
    }
    let code = fs::read_to_string(share.join("status")).unwrap_or_default();
    match code.trim() {
        "0" if status.success() => Ok(()),
        "" => Err(Failure::new(format!(
            "the guest did not finish ({status}): its console is in {}",
            console.display()
        ))),
        code => Err(Failure::new(format!(
            "the guest's job ended with {code}: see above, or {}",
            share.display()
        ))),
    }
}

/// Runs the guest to its end, or until its job has not begun or not ended in time.
fn ended(mut guest: Command, share: &Path, programs: u64) -> Result<ExitStatus, Failure> {
    let cannot = |act, error| Failure::new(format!("cannot {act} qemu-system-x86_64: {error}"));
    let mut guest = guest.spawn().map_err(|error| cannot("start", error))?;
    let began = Instant::now();
    loop {
        let status = guest
            .try_wait()
            .map_err(|error| cannot("wait for", error))?;
        if let Some(status) = status {
            return Ok(status);
        }
        let limit = if share.join("log").exists() {
            BOOT_SECONDS + programs * PROGRAM_SECONDS
        } else {
            BOOT_SECONDS
        };
        if began.elapsed() > Duration::from_secs(limit) {
            guest.kill().map_err(|error| cannot("end", error))?;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// QEMU with two cores, 2 GiB and a disk whose changes are forgotten.
fn machine(image: &Image) -> Vec<OsString> {
    let mut disk = OsString::from("format=raw,if=virtio,snapshot=on,file=");
    disk.push(&image.disk);
    let words = "qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2G -display none -monitor none";
    let mut words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
    for (option, value) in [
        ("-kernel", image.kernel.as_os_str()),
        ("-initrd", image.initrd.as_os_str()),
        ("-append", KERNEL.as_ref()),
        ("-drive", &disk),
    ] {
        words.extend([option.into(), value.to_owned()]);
    }
    words
}

/// The machine without a network, whose end is that of its job.
fn qemu(image: &Image, share: &Path, console: &Path) -> Command {
    let words = machine(image);
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .args("-no-reboot -nic none".split(' '))
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio"])
        .arg("-virtfs")
        .arg(format!(
            "local,path={},mount_tag=share,security_model=none",
            share.display()
        ))
        .stdin(Stdio::null())
        .stdout(std::io::stderr());
    command
}

fn folder() -> PathBuf {
    root().join("target/vm")
}

/// An empty folder.
fn fresh(path: &Path) -> Result<PathBuf, Failure> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(|e| failed("empty", path, &e))?;
    }
    fs::create_dir_all(path).map_err(|e| failed("make", path, &e))?;
    Ok(path.to_owned())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|e| failed("write", path, &e))
}

fn executable(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(|e| failed("change", path, &e))
}

fn failed(act: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {act} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_is_not_there_is_refused() {
        let check = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            check(&words).map_err(|failure| failure.to_string())
        };
        for words in [
            "sensor",
            "sensor storm",
            "contain",
            "contain --json a",
            "protect",
            "protect --json a",
        ] {
            assert_eq!(check(words), Ok(()));
        }
        for words in [
            "",
            "contian",
            "contain fast",
            "contain --json",
            "contain --json a b",
            "protect fast",
        ] {
            let refusal = check(words).expect_err(words);
            assert!(refusal.contains("contain [--json FILE]"), "{refusal}");
        }
    }

    #[test]
    fn only_what_would_run_is_chosen() {
        let own = std::env::current_exe().expect("it runs");
        let programs = [("own".to_owned(), own.as_path())];
        let chosen = |word: &str| chosen(&programs, &[word.to_owned()]);
        for word in ["own", "own::only_what_would_run"] {
            let runs = chosen(word).expect("it is there");
            assert_eq!(runs.len(), 1);
        }
        for (word, said) in [
            ("owm", "no test program \"owm\", only own"),
            (
                "own::only_what_wuold",
                "runs no test that has \"only_what_wuold\"",
            ),
        ] {
            let failure = chosen(word).expect_err(word).to_string();
            assert!(failure.contains(said), "{failure}");
        }
    }
}
