//! What is told of a listed program beside what was done to it: a detection, by which it is an incident of its own.

use cordon_behavior::event::Exec;
use cordon_behavior::story::{Process, Story};
use cordon_proto::process::ProcessName;
use cordon_proto::record::Detection;
use cordon_proto::verdict::{LISTED_BY_POLICY, Stage, Verdict, VerdictKind};

use super::Started;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Killed before its first instruction.
    Prevented,
    /// Killed when it was known, with what descends from it.
    Killed,
    /// It runs, and why.
    Runs(WhyNot),
}

/// Why a listed program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhyNot {
    /// Observe and recommend.
    Mode,
    /// Process 1.
    FirstProcess,
}

impl WhyNot {
    /// For records.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Mode => "the policy's mode never acts",
            Self::FirstProcess => "the kernel sends the first process of a host no signal",
        }
    }

    fn zh(self) -> &'static str {
        match self {
            Self::Mode => "策略的模式从不处置",
            Self::FirstProcess => "内核不向主机的首个进程发送信号",
        }
    }
}

impl Fate {
    /// As a decision is named in records.
    fn name(self) -> &'static str {
        match self {
            Self::Prevented => "prevent",
            Self::Killed => "kill",
            Self::Runs(_) => "alert",
        }
    }

    fn reason(self) -> String {
        match self {
            Self::Prevented => "the policy lists it: killed before its first instruction".into(),
            Self::Killed => "the policy lists its content, which was not known before it ran: it and what descends from it are killed".into(),
            Self::Runs(why) => format!("the policy lists it, and it runs: {}", why.text()),
        }
    }

    fn reason_zh(self) -> String {
        match self {
            Self::Prevented => "策略将其列为禁止运行：在首条指令执行前已被终止".into(),
            Self::Killed => {
                "策略将其内容列为禁止运行，但运行之前尚不知晓：该进程及其后代进程已被终止".into()
            }
            Self::Runs(why) => format!("策略将其列为禁止运行，但它仍在运行：{}", why.zh()),
        }
    }
}

/// What is known of it before its first instruction.
pub(super) fn process_of(exec: &Exec) -> Process {
    Process {
        exe: exec.exe.clone(),
        argv: exec.argv.clone(),
        cwd: exec.cwd.clone(),
        uid: Some(exec.uid),
        euid: Some(exec.euid),
        gid: Some(exec.gid),
        egid: Some(exec.egid),
        tty: Some(exec.tty),
        stdin: exec.stdio[0],
        stdout: exec.stdio[1],
        stderr: exec.stdio[2],
        deleted_exe: exec.deleted_exe,
        memfd: exec.memfd,
        argv_truncated: exec.argv_truncated,
        script: exec.script.clone(),
        env: exec.env.clone(),
        ..Process::default()
    }
}

/// No judge was asked: whoever signed the policy has judged.
pub(super) fn detection(
    started: &Started,
    tree: String,
    process: &ProcessName,
    fate: Fate,
    exe_sha256: Option<String>,
    policy_version: u64,
) -> Detection {
    Detection {
        tree,
        pid: started.process.pid,
        process: Some(process.to_string()),
        story: Story {
            process: Some(started.image.clone()),
            ..Story::default()
        },
        verdict: Verdict {
            id: String::new(),
            score: 1.0,
            verdict: VerdictKind::Malicious,
            techniques: Vec::new(),
            reasons: Vec::new(),
            stage: Stage::Ioc,
            model: LISTED_BY_POLICY.to_owned(),
            micros: 0,
        },
        policy_version,
        decision: fate.name().to_owned(),
        decision_reason: format!("{} (policy version {policy_version})", fate.reason()),
        decision_reason_zh: format!("{}（策略版本 {policy_version}）", fate.reason_zh()),
        event_mono_ns: started.mono_ns,
        exe_sha256,
        proposal: None,
    }
}
