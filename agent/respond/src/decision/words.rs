//! Why a policy leads to an action, in both languages of the console. Only what the policy's author wrote is the same in both.

use cordon_proto::policy::{BlockRemote, Policy, QuietHours, Stop};
use cordon_proto::record::Steps;
use jiff::Timestamp;

use super::Standing;
use crate::place::Taken;

/// One text in both languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub en: String,
    pub zh: String,
}

impl Said {
    pub(super) fn new(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self {
            en: en.into(),
            zh: zh.into(),
        }
    }

    pub(super) fn and(self, more: &Self) -> Self {
        Self {
            en: self.en + &more.en,
            zh: self.zh + &more.zh,
        }
    }

    /// Under which policy.
    pub(super) fn under(self, policy: Option<&Policy>, now: Timestamp) -> Self {
        let Some(policy) = policy else {
            return self;
        };
        let (version, expires_at) = (policy.version, policy.expires_at);
        let more = if expires_at <= now {
            Self::new(
                format!(" (policy version {version}, stale since {expires_at})"),
                format!("（策略版本 {version}，自 {expires_at} 起已过期）"),
            )
        } else {
            Self::new(
                format!(" (policy version {version})"),
                format!("（策略版本 {version}）"),
            )
        };
        self.and(&more)
    }
}

pub(super) fn not_evaluable() -> Said {
    Said::new(
        "not evaluable: telemetry is missing, so nothing is concluded",
        "无法判定：遥测数据缺失，不作结论",
    )
}

pub(super) fn benign() -> Said {
    Said::new("benign", "无害")
}

pub(super) fn suspicious() -> Said {
    Said::new(
        "suspicious: below the threshold for action",
        "可疑：未达到处置阈值",
    )
}

pub(super) fn malicious() -> Said {
    Said::new("malicious", "恶意")
}

pub(super) fn without_policy() -> Said {
    Said::new(
        "malicious, but no policy is in force: no automatic action is allowed",
        "恶意，但没有生效的策略，不允许自动处置",
    )
}

pub(super) fn observed() -> Said {
    Said::new(
        "malicious; mode observe never acts",
        "恶意；观察模式（observe）从不处置",
    )
}

pub(super) fn recommended() -> Said {
    Said::new(
        "malicious; mode recommend leaves the act to a person",
        "恶意；建议模式（recommend）由人员决定是否处置",
    )
}

pub(super) fn isolated_already() -> Said {
    Said::new(
        "malicious; the host is already isolated",
        "恶意；主机已处于隔离状态",
    )
}

pub(super) fn from_before_opening() -> Said {
    Said::new(
        "malicious, but from before the host was opened",
        "恶意，但发生在主机解除隔离之前",
    )
}

pub(super) fn protected() -> Said {
    Said::new(
        "malicious, but the executable is on the policy's protected list",
        "恶意，但该程序在策略的保护名单上",
    )
}

pub(super) fn capped(standing: &Standing, cap: u32) -> Said {
    let count = standing.isolations_last_hour;
    Said::new(
        format!("malicious, but {count} isolations in the last hour reach the cap of {cap}"),
        format!("恶意，但最近一小时内已自行隔离 {count} 次，达到上限 {cap} 次"),
    )
}

pub(super) fn within_caps() -> Said {
    Said::new(
        "malicious; mode autonomous, within the caps",
        "恶意；自主模式（autonomous），未达到上限",
    )
}

/// What the controller says of the group comes first.
pub(super) fn place_asked(cap: u32) -> Said {
    Said::new(
        format!(
            "malicious; mode autonomous; the controller is asked first whether {cap} hosts of the group are isolated already"
        ),
        format!("恶意；自主模式（autonomous）；先向控制器询问本组是否已有 {cap} 台主机被隔离"),
    )
}

/// Nobody could say how many hosts of the group are isolated.
pub(super) fn place_unknown(cap: u32) -> Said {
    Said::new(
        format!(
            "malicious; mode autonomous; the controller did not say whether {cap} hosts of the group are isolated already, so that cap is not kept to"
        ),
        format!(
            "恶意；自主模式（autonomous）；控制器未答复本组是否已有 {cap} 台主机被隔离，因此未按该上限执行"
        ),
    )
}

/// What becomes of an isolation that is not begun at once.
fn in_place_of_isolating(may_ask: bool) -> (&'static str, &'static str) {
    if may_ask {
        (
            "the host is isolated when somebody says yes",
            "有人批准后才隔离主机",
        )
    } else {
        (
            "the host is not isolated, and the policy has no approve",
            "不隔离主机，策略也没有设置 approve",
        )
    }
}

/// As many hosts of the group are isolated as may be.
pub(super) fn no_place(taken: &Taken, cap: u32, may_ask: bool) -> Said {
    let (en, zh) = in_place_of_isolating(may_ask);
    let Taken { count, by } = taken;
    let (named, zh_named) = match by.as_str() {
        "" => (String::new(), String::new()),
        by => (format!(" ({by})"), format!("（{by}）")),
    };
    Said::new(
        format!(
            "malicious, but {count} isolated hosts of the group{named} reach the cap of {cap} at one time; {en}"
        ),
        format!(
            "恶意，但本组已有 {count} 台主机{zh_named}被隔离，达到同时隔离的上限 {cap} 台；{zh}"
        ),
    )
}

pub(super) fn quiet(window: &QuietHours, may_ask: bool) -> Said {
    let (en, zh) = in_place_of_isolating(may_ask);
    Said::new(
        format!("malicious; in quiet hours ({window}) {en}"),
        format!("恶意；正值静默时段（{window}），{zh}"),
    )
}

pub(super) fn waits() -> Said {
    Said::new(
        "; mode approve waits for a yes",
        "；批准模式（approve）等待批准",
    )
}

pub(super) fn refused() -> Said {
    Said::new(
        "malicious; somebody said no about this process and what descends from it",
        "恶意；对该进程及其后代进程的处置建议已被人拒绝",
    )
}

pub(super) fn full() -> Said {
    Said::new(
        "malicious; no more proposals can be kept",
        "恶意；无法再保留更多处置建议",
    )
}

/// What is done at once.
pub(super) fn done(steps: Steps) -> Said {
    steps_in_words(steps, "are", "已被")
}

/// What is done after a yes.
pub(super) fn would_be_done(steps: Steps) -> Said {
    steps_in_words(steps, "would be", "将被")
}

/// Each beginning with what separates it from what was said before.
fn steps_in_words(steps: Steps, are: &str, zh_are: &str) -> Said {
    let them = "it and what descends from it";
    let zh_them = "该进程及其后代进程";
    let mut all = Said::new("", "");
    let mut say = |en: String, zh: String| {
        all.en += "; ";
        all.en += &en;
        all.zh += "；";
        all.zh += &zh;
    };
    if steps.isolate {
        say("the host would be isolated".into(), "主机将被隔离".into());
    }
    match steps.stop {
        Stop::None => {}
        Stop::Freeze => say(
            format!("{them} {are} frozen"),
            format!("{zh_them}{zh_are}冻结"),
        ),
        Stop::Kill => say(
            format!("{them} {are} killed"),
            format!("{zh_them}{zh_are}终止"),
        ),
    }
    if steps.cut_off {
        say(
            format!("{them} {are} cut off the network"),
            format!("{zh_them}{zh_are}断网"),
        );
    }
    if let Some(BlockRemote { seconds }) = steps.block {
        say(
            format!("its remote ends {are} blocked for {seconds} s"),
            format!("其远端地址{zh_are}封锁 {seconds} 秒"),
        );
    }
    all
}
