//! `cordon-agent record`: what happens here is in the files, and the files are good whatever happens to the recorder.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use cordon_agent::recording::{Keep, Recording};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{AGENT, agent, complaint, model};

const LIMIT: Duration = Duration::from_mins(1);

/// A recorder that runs; it is killed if it still does when this is dropped.
struct Recorder {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Recorder {
    /// Returns when it records.
    fn start(folder: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(AGENT)
            .args(["record", "--output", folder.to_str().unwrap()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.starts_with("recording into "), "{line}");
        Self { child, stderr }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// What it prints at its end.
    fn finish(mut self) -> String {
        let mut said = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut said).unwrap();
        self.stderr.read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {said}");
        said
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The files, oldest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Every story in the recording; the recording must be whole.
fn replay(folder: &Path) -> Vec<Value> {
    let mut all = Vec::new();
    for path in files(folder) {
        all.extend(std::fs::read(path).unwrap());
    }
    let output = agent(&["replay"], &all);
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn names(story: &Value, word: &str) -> bool {
    let argv = story["process"]["argv"].as_array();
    argv.is_some_and(|argv| argv.iter().any(|argument| argument == word))
}

/// Runs a shell that runs `echo`, and waits until that is in the files: nobody has to end the recorder first.
fn work_and_wait(folder: &Path, word: &str) -> Value {
    let mut shell = Command::new("bash");
    let shell = shell.args(["-c", &format!("/bin/echo {word}; true")]);
    assert!(shell.output().unwrap().status.success());
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(story) = replay(folder).into_iter().find(|story| names(story, word)) {
            return story;
        }
        assert!(Instant::now() < deadline, "{word} is not in the recording");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_command_is_recorded_replayed_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new/recordings");
    let recorder = Recorder::start(&folder, &[]);
    let story = work_and_wait(&folder, "recorded-and-judged");
    assert_eq!(
        story["process"]["exe"].as_str().unwrap().rsplit('/').next(),
        Some("echo")
    );
    let above = &story["ancestors"][0];
    assert_eq!(above["argv"][1], "-c", "{above}");
    recorder.signal(Signal::SIGINT);
    let said = recorder.finish();
    assert!(said.contains("lines of stories in 1 files"), "{said}");

    let file = files(&folder).remove(0);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(
        name.starts_with("stories-20") && name.ends_with("Z.jsonl.zst"),
        "{name}"
    );
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let folders = std::fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(folders & 0o777, 0o700);
    let model = model();
    let judged = agent(
        &[
            "replay",
            "--judge",
            "--model",
            model.to_str().unwrap(),
            file.to_str().unwrap(),
        ],
        b"",
    );
    let id = story["id"].to_string();
    let text = String::from_utf8_lossy(&judged.stdout).into_owned();
    let verdict = text.lines().find(|line| line.contains(&id)).unwrap();
    assert!(verdict.contains("\"verdict\":"), "{verdict}");
}

#[test]
fn raw_events_replay_into_the_same_story() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path(), &["--events", "--scope", "host"]);
    let story = work_and_wait(dir.path(), "recorded-as-events");
    assert_eq!(story["ancestors"][0]["argv"][1], "-c", "{story}");
    recorder.signal(Signal::SIGTERM);
    assert!(recorder.finish().contains("lines of events in"));
}

#[test]
fn a_killed_recorder_leaves_whole_files() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path(), &[]);
    work_and_wait(dir.path(), "recorded-and-killed");
    recorder.signal(Signal::SIGKILL);
    drop(recorder);
    let stories = replay(dir.path());
    assert!(
        stories
            .iter()
            .any(|story| names(story, "recorded-and-killed"))
    );
}

#[test]
fn a_recorder_stops_by_itself_when_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path(), &["--seconds", "1", "--json"]);
    let said = recorder.finish();
    let said: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(said["recorded"], "stories");
    assert_eq!(said["lost"], 0);
}

#[test]
fn what_will_not_do_is_refused_before_anything_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    std::fs::create_dir(&open).unwrap();
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&open, everybody).unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (arguments, code, said) in [
        (
            &["--output", open.to_str().unwrap()][..],
            1,
            "anybody may write there",
        ),
        (&["--output", file.to_str().unwrap()], 1, "file"),
        (
            &["--output", "x", "--scope", "here"],
            2,
            "wanted \"host\", \"pidns\" or \"cgroup:PATH\"",
        ),
        (&["--output", "x", "--keep", "0"], 2, "--keep"),
        (&["--output", "x", "--max-bytes", "1"], 2, "--max-bytes"),
        (&[], 2, "--output"),
    ] {
        let output = agent(&[&["record"], arguments].concat(), b"");
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            complaint(&output)
        );
        assert!(complaint(&output).contains(said), "{}", complaint(&output));
    }
    assert!(files(&open).is_empty());
    // Everybody may write into a folder like /tmp, but not remove what is another's.
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o1777)).unwrap();
    Recording::begin(&open, "stories", KEEP).unwrap();
}

const KEEP: Keep = Keep {
    file_bytes: 4096,
    files: 3,
};

#[test]
fn files_are_rotated_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let others = dir.path().join("events-1.jsonl.zst");
    std::fs::write(&others, "another kind").unwrap();
    let mut recording = Recording::begin(dir.path(), "stories", KEEP).unwrap();
    // One time for all: names must differ nevertheless.
    let now = Timestamp::now();
    for number in 0_u64..3000 {
        let digest = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        recording
            .line(&json!({ "id": number, "digest": digest }), now)
            .unwrap();
        if number % 50 == 0 {
            recording.flush(now).unwrap();
        }
    }
    let written = recording.end(now).unwrap();
    assert_eq!(written.lines, 3000);
    assert!(written.files > 5, "{written:?}");
    std::fs::remove_file(&others).unwrap();
    let left = files(dir.path());
    assert_eq!(left.len(), 3);
    let mut last = None;
    for path in &left {
        let bytes = std::fs::read(path).unwrap();
        assert!(bytes.len() < 4096 + 2048, "{}", bytes.len());
        let text = zstd::decode_all(bytes.as_slice()).unwrap();
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let line: Value = serde_json::from_slice(line).unwrap();
            let id = line["id"].as_u64().unwrap();
            assert!(last.is_none_or(|last| last + 1 == id), "{last:?} then {id}");
            last = Some(id);
        }
    }
    assert_eq!(last, Some(2999));
}
