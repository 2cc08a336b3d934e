//! The write-up in Simplified Chinese.

mod approval;
mod listed;
mod names;

use cordon_proto::record::StopAct;
use cordon_proto::verdict::VerdictKind;
use jiff::Timestamp;

use crate::attack::Tactic;
use crate::evidence::{Evidence, Lead, Named, Standing, Step, StepKind, Stopped};
use crate::{Measure, Text};
use approval::{how_it_ended, what_is_asked};
use names::{decision, spared};

pub(crate) fn text(evidence: &Evidence, measures: &[Measure]) -> Text {
    Text {
        title: title(evidence),
        summary: summary(evidence),
        risk: risk(evidence),
        measures: measures
            .iter()
            .map(|measure| format!("{}：{}", time(measure.at), measure.zh))
            .collect(),
        advice: advice(evidence),
    }
}

pub(crate) fn measure(step: &Step) -> String {
    match &step.kind {
        StepKind::Isolated {
            micros,
            lease_until,
            policy_version,
            reason,
        } => {
            let speed =
                micros.map_or_else(String::new, |m| format!("（事件发生后 {}）", duration(m)));
            let by = match policy_version {
                0 => "由主机旁的操作人员执行".to_owned(),
                version => format!("依据策略版本 {version}"),
            };
            let lease = lease_until.map_or_else(
                || "无租期，只能人工解除".to_owned(),
                |until| format!("租期至 {}", time(until)),
            );
            format!("主机已隔离{speed}，{by}；{lease}；原因：{reason}")
        }
        StepKind::Proved {
            silent,
            controller_answered,
        } => {
            let controller = if *controller_answered {
                "控制器仍能应答代理"
            } else {
                "控制器在隔离前已无法连通"
            };
            format!("隔离已得到证明：{silent} 个禁止的探测均无应答，{controller}")
        }
        StepKind::Unproven { leaks } if leaks.is_empty() => {
            "隔离规则已生效但未得到证明，主机保持隔离".to_owned()
        }
        StepKind::Unproven { leaks } => format!(
            "隔离规则已生效但未得到证明（{}），主机保持隔离",
            leaks.join("、")
        ),
        StepKind::Released { reason } => format!("主机已解除隔离：{reason}"),
        StepKind::Failed { reason } => format!("隔离失败，主机未被隔离：{reason}"),
        StepKind::Stopped(stopped) => processes(stopped),
        StepKind::Answered(answered) => how_it_ended(answered),
    }
}

fn processes(stopped: &Stopped) -> String {
    let act = match stopped.act {
        StopAct::Frozen => "冻结",
        StopAct::Killed => "终止",
        StopAct::Thawed => "恢复运行",
        StopAct::CutOff => "断网",
        StopAct::Rejoined => "恢复联网",
        StopAct::Prevented => "阻止运行",
    };
    let by = match stopped.policy_version {
        0 => "由主机旁的操作人员执行".to_owned(),
        version => format!("依据策略版本 {version}"),
    };
    let names = match stopped.names.as_slice() {
        [] => String::new(),
        names => format!("（{}）", names.join("、")),
    };
    let speed = stopped
        .micros
        .map(|m| format!("，事件发生后 {}", duration(m)));
    let (count, speed) = (stopped.count, speed.unwrap_or_default());
    let mut parts = vec![format!("已{act} {count} 个进程{names}{speed}，{by}")];
    parts.extend(outcome(stopped, act));
    let left = stopped.spared.iter();
    parts.extend(left.map(|(name, why)| format!("未处置：{name}（{}）", spared(why))));
    parts.push(format!("原因：{}", stopped.reason));
    parts.join("；")
}

fn outcome(stopped: &Stopped, act: &str) -> Option<String> {
    if !stopped.survivors.is_empty() {
        return Some(format!("未能{act}：{}", stopped.survivors.join("、")));
    }
    let said = match (stopped.act, stopped.proved) {
        (StopAct::Thawed | StopAct::Rejoined, _) => return None,
        (StopAct::Prevented, true) => "已证明其在执行首条指令前即被终止",
        (StopAct::Prevented, false) => "未能证明其完全没有运行",
        (StopAct::CutOff, true) => "已证明其网络通信均被阻断，且该进程树中没有其他进程",
        (StopAct::CutOff, false) => "未能证明其网络通信均被阻断",
        (_, true) => "已证明该进程树中没有其他进程",
        (_, false) => "未能证明该进程树中没有其他进程",
    };
    Some(said.to_owned())
}

fn title(evidence: &Evidence) -> String {
    let host = &evidence.host;
    let Some(lead) = &evidence.lead else {
        return match evidence.standing {
            Standing::Failed => format!("{host} 隔离失败"),
            _ => format!("{host} 在没有检测的情况下被隔离"),
        };
    };
    if lead.is_listed {
        return listed::title(host, lead);
    }
    let what = match lead.kind {
        VerdictKind::Malicious => "恶意行为",
        VerdictKind::Suspicious => "可疑行为",
        VerdictKind::Benign => "上报的行为",
        VerdictKind::NotEvaluable => "无法判定的行为",
    };
    let waits = evidence.asked.as_ref().map_or_else(String::new, |asked| {
        format!("：等待批准，截止 {}", time(asked.expires_at))
    });
    if lead.process.is_empty() {
        format!("{host} 上出现{what}{waits}")
    } else {
        format!("{host} 上的 {} 出现{what}{waits}", lead.process)
    }
}

fn summary(evidence: &Evidence) -> String {
    let Some(lead) = &evidence.lead else {
        return format!(
            "主机 {} 于 {} 被隔离，没有对应的检测。",
            evidence.host,
            time(evidence.opened_at)
        );
    };
    let mut sentences = vec![what_ran(evidence, lead), how_it_was_judged(lead)];
    if !lead.reasons_zh.is_empty() {
        sentences.push(format!("权重最高的依据：{}。", lead.reasons_zh.join("、")));
    }
    if !evidence.techniques.is_empty() {
        let named: Vec<String> = evidence.techniques.iter().map(technique).collect();
        sentences.push(format!("对应 ATT&CK 技术：{}。", named.join("；")));
    }
    if evidence.detections > 1 {
        sentences.push(format!("该进程树共有 {} 次检测。", evidence.detections));
    }
    sentences.push(format!(
        "策略的处置：{}（{}）。",
        decision(&lead.decision),
        lead.decision_reason_zh
    ));
    sentences.concat()
}

fn what_ran(evidence: &Evidence, lead: &Lead) -> String {
    let mut parts = vec![format!(
        "{}，{} 上{} {}",
        time(lead.at),
        evidence.host,
        if evidence.is_prevented {
            "有人启动了"
        } else {
            "运行了"
        },
        lead.command
    )];
    parts.push(format!("（pid {}{}）", lead.pid, user(lead)));
    if !lead.lineage.is_empty() {
        parts.push(format!("，由 {} 启动", lead.lineage.join(" ← ")));
    }
    if lead.on_socket {
        parts.push("，其输入或输出接在网络套接字上".to_owned());
    }
    if lead.without_file {
        parts.push("，其程序文件不在磁盘上".to_owned());
    }
    if !lead.remotes.is_empty() {
        parts.push(format!("，并连接了 {}", lead.remotes.join("、")));
    }
    if !lead.children.is_empty() {
        parts.push(format!("；它又启动了 {}", lead.children.join("、")));
    }
    parts.push("。".to_owned());
    parts.concat()
}

fn user(lead: &Lead) -> String {
    match (lead.uid, lead.euid) {
        (Some(uid), Some(euid)) if uid != euid => format!("，uid {uid}，有效 uid {euid}"),
        (Some(uid), _) | (None, Some(uid)) => format!("，uid {uid}"),
        (None, None) => String::new(),
    }
}

fn how_it_was_judged(lead: &Lead) -> String {
    match lead.kind {
        _ if lead.is_listed => listed::HOW_IT_WAS_JUDGED.to_owned(),
        VerdictKind::NotEvaluable => format!(
            "模型 {} 无法判定：遥测数据缺失，既不能说明它恶意，也不能说明它无害。",
            lead.model
        ),
        kind => format!(
            "主机上的模型 {} 判定其恶意概率为 {:.2}：{}。",
            lead.model,
            lead.score,
            match kind {
                VerdictKind::Malicious => "恶意",
                VerdictKind::Suspicious => "可疑",
                VerdictKind::Benign | VerdictKind::NotEvaluable => "低于所有阈值",
            }
        ),
    }
}

fn technique(named: &Named) -> String {
    named.entry.map_or_else(
        || named.id.clone(),
        |entry| format!("{}（{}）", entry.zh, named.id),
    )
}

fn risk(evidence: &Evidence) -> String {
    let Some(lead) = &evidence.lead else {
        return "未知：没有任何检测。隔离期间主机无法正常工作。".to_owned();
    };
    if lead.kind == VerdictKind::NotEvaluable {
        return "未知：无法判定发生了什么，这并不表示安全。".to_owned();
    }
    if lead.is_listed && evidence.is_prevented {
        return listed::RISK.to_owned();
    }
    let mut sentences: Vec<String> = Vec::new();
    if !lead.remotes.is_empty()
        && (lead.on_socket || evidence.tactics.contains(&Tactic::CommandAndControl))
    {
        sentences.push(format!(
            "位于 {} 的一方可能{}在本机执行命令。",
            lead.remotes[0],
            if is_root(lead) { "以 root 身份" } else { "" }
        ));
    } else if is_root(lead) {
        sentences.push("该进程拥有 root 权限，可以接触本机所有文件和机密。".to_owned());
    }
    sentences.extend(
        evidence
            .tactics
            .iter()
            .filter_map(|t| tactic_risk(*t))
            .map(str::to_owned),
    );
    if sentences.is_empty() {
        sentences.push("该进程的行为符合攻击特征，目的尚不清楚。".to_owned());
    }
    sentences.push(
        match evidence.standing {
            Standing::Shut { proved: true, .. } => {
                "主机已被隔离，无法由此扩散；此前已被触及的仍然受影响。"
            }
            Standing::Shut { proved: false, .. } => "主机已执行隔离但未得到证明，请按未隔离对待。",
            Standing::Released => "主机已解除隔离。",
            Standing::Failed if evidence.is_killed => {
                "隔离失败：主机未被隔离，但相关进程已被终止。"
            }
            Standing::NeverIsolated if evidence.is_killed => {
                "相关进程已被终止，主机未被隔离；此前已被触及的仍然受影响。"
            }
            Standing::Failed => "隔离失败：主机未被隔离，该进程可能仍在活动。",
            Standing::NeverIsolated => "主机未被隔离，该进程可能仍在活动。",
        }
        .to_owned(),
    );
    sentences.concat()
}

fn is_root(lead: &Lead) -> bool {
    lead.euid.or(lead.uid) == Some(0)
}

fn tactic_risk(tactic: Tactic) -> Option<&'static str> {
    Some(match tactic {
        Tactic::Persistence => "它可能在重启或再次登录后重新出现。",
        Tactic::PrivilegeEscalation => "它可能取得了未被授予的权限。",
        Tactic::DefenseEvasion => "它可能清除或掩饰了痕迹。",
        Tactic::CredentialAccess => "本机上的密码、密钥和令牌可能已泄露。",
        Tactic::LateralMovement => "其他主机可能已受影响。",
        Tactic::Collection | Tactic::Exfiltration => "数据可能已离开本机。",
        Tactic::Impact => "本机的数据或服务可能已受损。",
        Tactic::InitialAccess
        | Tactic::Execution
        | Tactic::Discovery
        | Tactic::CommandAndControl => return None,
    })
}

fn advice(evidence: &Evidence) -> Vec<String> {
    let mut advice: Vec<String> = evidence.asked.iter().map(what_is_asked).collect();
    advice.push(match evidence.standing {
        Standing::Shut {
            proved: true,
            lease_until: Some(until),
        } => format!(
            "查明原因之前保持隔离；主机将于 {} 自行解除隔离，如需更久请在此之前再次隔离。",
            time(until)
        ),
        Standing::Shut {
            proved: true,
            lease_until: None,
        } => "查明原因之前保持隔离；只有人工解除才会开放。".to_owned(),
        Standing::Shut { proved: false, .. } => "请从网络侧确认主机是否真的已被切断。".to_owned(),
        Standing::Failed => {
            "立即用其他方式切断主机，例如关闭交换机端口；隔离失败的原因请看 `cordon-agent doctor`。"
                .to_owned()
        }
        Standing::NeverIsolated if evidence.is_prevented => listed::ADVICE.to_owned(),
        Standing::NeverIsolated if evidence.severity >= crate::Severity::High => {
            "除非确知这是正常工作，请立即隔离主机。".to_owned()
        }
        Standing::NeverIsolated | Standing::Released => "留意该主机的后续检测。".to_owned(),
    });
    let Some(lead) = &evidence.lead else {
        advice.push("向执行隔离的人员了解原因，然后解除隔离。".to_owned());
        return advice;
    };
    if !lead.lineage.is_empty() {
        advice.push(format!(
            "查找入侵途径：查看 {} 在 {} 前后的日志。",
            lead.lineage.last().map_or("", String::as_str),
            time(lead.at)
        ));
    }
    if !lead.remotes.is_empty() {
        advice.push(format!(
            "查找其他与 {} 通信过的主机，并在边界封锁该地址。",
            lead.remotes.join("、")
        ));
    }
    let had_rights = is_root(lead) && !evidence.is_prevented;
    if had_rights || evidence.tactics.contains(&Tactic::CredentialAccess) {
        advice.push("更换本机上存放过的密码、密钥和令牌。".to_owned());
    }
    if matches!(evidence.standing, Standing::Shut { .. }) {
        advice.push("如属计划内的工作，请解除隔离并以此作为理由。".to_owned());
    }
    advice
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} 微秒"),
        1_000..1_000_000 => format!("{:.1} 毫秒", micros as f64 / 1e3),
        _ => format!("{:.1} 秒", micros as f64 / 1e6),
    }
}
