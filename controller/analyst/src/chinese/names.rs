//! What agents say in words of a closed list, in Simplified Chinese.

/// The agent's reasons are a closed list; anything newer is shown as it came.
pub(super) fn spared(why: &str) -> &str {
    match why {
        "protected by the policy" => "受策略保护",
        "the agent itself" => "代理自身",
        "the agent runs under it" => "代理在其下运行",
        "it belongs to the agent" => "属于代理",
        "the first process of the system" => "系统的首个进程",
        "a thread of the kernel" => "内核线程",
        other => other,
    }
}

/// The agent's decision is a closed list; anything newer is shown as it came.
pub(super) fn decision(name: &str) -> &str {
    match name {
        "record" => "记录",
        "alert" => "告警",
        "recommend_isolate" => "建议隔离",
        "await_approval" => "等待批准",
        "isolate" => "隔离",
        "prevent" => "阻止运行",
        "kill" => "终止",
        other => other,
    }
}
