//! A program that the policy lists among those that must not run, in Simplified Chinese.

use crate::evidence::Lead;

pub(super) const HOW_IT_WAS_JUDGED: &str = "策略将其列为禁止运行的程序。";

/// Of one that was kept from running.
pub(super) const RISK: &str = "它没有造成任何影响：在执行首条指令前即被终止。但带入或启动它的人可能还做了其他事情，也可能改用其他手段。";

/// Of one that was kept from running, on a host that is open.
pub(super) const ADVICE: &str = "查明它如何进入该主机、由谁启动；如果无人能够说明，请隔离主机。";

pub(super) fn title(host: &str, lead: &Lead) -> String {
    if lead.process.is_empty() {
        format!("{host} 上出现禁止运行的程序")
    } else {
        format!("{host} 上出现禁止运行的程序 {}", lead.process)
    }
}
