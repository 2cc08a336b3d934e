//! Facts that can be left out of a story: what was counted, measured or found out beside its texts and lists.

use cordon_behavior::story::{Facts, Process, Story};

use crate::wording::{Language, more, quoted, say};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Script,
    Environment,
    Package,
    FirstSeen,
    WorldWritable,
    ByDescriptor,
    Raised,
    Capabilities,
    Namespaces,
    LoginSession,
    Container,
    Rates,
    Beacons,
    Memory,
    Traced,
    Modules,
    Bpf,
    Mounts,
    RawSockets,
    Logins,
    Listeners,
}

const ALL: [Fact; 21] = [
    Fact::Script,
    Fact::Environment,
    Fact::Package,
    Fact::FirstSeen,
    Fact::WorldWritable,
    Fact::ByDescriptor,
    Fact::Raised,
    Fact::Capabilities,
    Fact::Namespaces,
    Fact::LoginSession,
    Fact::Container,
    Fact::Rates,
    Fact::Beacons,
    Fact::Memory,
    Fact::Traced,
    Fact::Modules,
    Fact::Bpf,
    Fact::Mounts,
    Fact::RawSockets,
    Fact::Logins,
    Fact::Listeners,
];

/// Those that `story` has.
pub(crate) fn of(story: &Story) -> impl Iterator<Item = Fact> {
    let facts = Story {
        process: story.process.clone(),
        facts: story.facts.clone(),
        connections: story.connections.clone(),
        ..Story::default()
    };
    ALL.into_iter().filter(move |fact| {
        let mut without = facts.clone();
        fact.clear(&mut without);
        without != facts
    })
}

impl Fact {
    /// Leaves it out.
    pub(crate) fn clear(self, story: &mut Story) {
        if let Some(process) = &mut story.process {
            self.clear_of(process);
        }
        let facts = &mut story.facts;
        match self {
            Self::Rates => facts.file_rates = None,
            Self::Beacons => facts.beacons.clear(),
            Self::Memory => facts.executable_memory.clear(),
            Self::Traced => facts.ptraced.clear(),
            Self::Modules => facts.modules.clear(),
            Self::Bpf => facts.bpf.clear(),
            Self::Mounts => facts.mounts.clear(),
            Self::RawSockets => facts.raw_sockets.clear(),
            Self::Logins => facts.logins.clear(),
            Self::Listeners => story.connections.retain(|one| one.direction != "listen"),
            _ => {}
        }
    }

    fn clear_of(self, process: &mut Process) {
        match self {
            Self::Script => process.script.clear(),
            Self::Environment => process.env.clear(),
            Self::Package => process.package = None,
            Self::FirstSeen => process.first_seen = None,
            Self::WorldWritable => process.world_writable = None,
            Self::ByDescriptor => process.by_descriptor = false,
            Self::Raised => process.uid_raised = None,
            Self::Capabilities => process.capabilities_gained.clear(),
            Self::Namespaces => process.namespaces.clear(),
            Self::LoginSession => process.login_uid = None,
            Self::Container => process.container = None,
            _ => {}
        }
    }

    /// In plain words.
    pub(crate) fn words(self, story: &Story, language: Language) -> String {
        let blank = Process::default();
        let own = story.process.as_ref().unwrap_or(&blank);
        match self {
            Self::Script => say!(
                language,
                "runs the script {}",
                "运行脚本 {}",
                quoted(&own.script)
            ),
            Self::Environment => say!(
                language,
                "sets {}, which changes what code a program loads",
                "设置了会改变程序加载代码的环境变量 {}",
                quoted(&own.env.join(", "))
            ),
            Self::Package => match own.package.as_deref() {
                Some(name) if !name.is_empty() => say!(
                    language,
                    "its program is of package {}",
                    "其程序属于软件包 {}",
                    quoted(name)
                ),
                _ => say!(
                    language,
                    "no package owns its program",
                    "其程序不属于任何软件包"
                ),
            },
            Self::FirstSeen if own.first_seen == Some(true) => say!(
                language,
                "its program never ran on this host before",
                "其程序此前从未在本机运行"
            ),
            Self::FirstSeen => say!(
                language,
                "its program ran on this host before",
                "其程序曾在本机运行"
            ),
            Self::WorldWritable if own.world_writable == Some(true) => say!(
                language,
                "anybody may replace its program",
                "任何人都可以替换其程序"
            ),
            Self::WorldWritable => say!(
                language,
                "not anybody may replace its program",
                "并非任何人都可以替换其程序"
            ),
            Self::ByDescriptor => say!(
                language,
                "was executed by descriptor, not by name",
                "通过文件描述符而非路径执行"
            ),
            Self::Raised => say!(
                language,
                "rose to root after it started",
                "启动后提升为 root"
            ),
            Self::Capabilities => say!(
                language,
                "gained the capabilities {}",
                "获得了能力 {}",
                quoted(&own.capabilities_gained.join(", "))
            ),
            Self::Namespaces => say!(
                language,
                "entered other namespaces ({})",
                "进入了其他命名空间({})",
                quoted(&own.namespaces.join(", "))
            ),
            Self::LoginSession => say!(
                language,
                "belongs to somebody's login",
                "属于某用户的登录会话"
            ),
            Self::Container => say!(language, "runs in a container", "在容器中运行"),
            Self::Listeners => listeners(story, language),
            _ => self.words_of(&story.facts, language),
        }
    }

    fn words_of(self, facts: &Facts, language: Language) -> String {
        match self {
            Self::Rates => rates(facts, language),
            Self::Beacons => beacons(facts, language),
            Self::Memory => list(
                language,
                "makes memory executable: ",
                "将内存变为可执行: ",
                &facts.executable_memory,
            ),
            Self::Traced => list(language, "traces the program ", "跟踪程序 ", &facts.ptraced),
            Self::Modules => list(
                language,
                "loads the kernel module ",
                "加载内核模块 ",
                &facts.modules,
            ),
            Self::Bpf => list(
                language,
                "loads the BPF program ",
                "加载 BPF 程序 ",
                &facts.bpf,
            ),
            Self::Mounts => {
                let paths: Vec<String> = facts
                    .mounts
                    .iter()
                    .map(|mount| mount.path.clone())
                    .collect();
                list(language, "mounts or unmounts ", "挂载或卸载 ", &paths)
            }
            Self::RawSockets => list(
                language,
                "opens raw sockets: ",
                "打开原始套接字: ",
                &facts.raw_sockets,
            ),
            _ => logins(facts, language),
        }
    }
}

fn list(language: Language, en: &str, zh: &str, items: &[String]) -> String {
    let head = if language == Language::En { en } else { zh };
    let mut words = format!("{head}{}", quoted(items.first().map_or("", String::as_str)));
    more(&mut words, items.len(), language);
    words
}

fn listeners(story: &Story, language: Language) -> String {
    let listening = || {
        let all = story.connections.iter();
        all.filter(|one| one.direction == "listen")
    };
    let port = listening().next().map_or(0, |one| one.port);
    let mut words = say!(
        language,
        "waits for connections on port {}",
        "在端口 {} 上等待连接",
        port
    );
    more(&mut words, listening().count(), language);
    words
}

fn rates(facts: &Facts, language: Language) -> String {
    let rates = facts.file_rates.clone().unwrap_or_default();
    let mut words = say!(
        language,
        "writes {} files, renames {}, deletes {}",
        "写入 {} 个文件, 重命名 {} 个, 删除 {} 个",
        rates.written,
        rates.renamed,
        rates.unlinked
    );
    if let Some(entropy) = rates.entropy {
        words += &say!(
            language,
            "; what it writes has {:.1} of 8 bits of entropy a byte",
            "; 写入内容的熵为每字节 {:.1} 位(最大 8)",
            entropy
        );
    }
    words
}

fn beacons(facts: &Facts, language: Language) -> String {
    let Some(one) = facts.beacons.iter().max_by_key(|one| one.times) else {
        return String::new();
    };
    say!(
        language,
        "connects to {} {} times, about every {} s",
        "连接 {} 共 {} 次, 约每 {} 秒一次",
        quoted(&one.address),
        one.times,
        one.every_ms / 1000
    )
}

fn logins(facts: &Facts, language: Language) -> String {
    let failed: u64 = facts
        .logins
        .iter()
        .filter(|one| !one.success)
        .map(|one| u64::from(one.times))
        .sum();
    let from = facts.logins.iter().find(|one| !one.from.is_empty());
    match (failed, from) {
        (0, Some(one)) => say!(
            language,
            "follows a login from {}",
            "发生在来自 {} 的登录之后",
            quoted(&one.from)
        ),
        (0, None) => say!(language, "follows a login", "发生在一次登录之后"),
        (failed, _) => say!(
            language,
            "follows {} failed logins",
            "发生在 {} 次失败登录之后",
            failed
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_is_found_named_and_left_out() {
        let story = Story::from_json(
            br#"{"id":"f","connections":[{"direction":"listen","protocol":"tcp","address":"::","port":99}],"process":{"exe":"/tmp/x","script":"a.sh","env":["LD_PRELOAD"],"package":"","first_seen":true,
            "world_writable":true,"by_descriptor":true,"uid_raised":{"from":33,"to":0},"capabilities_gained":["CAP_SYS_ADMIN"],
            "namespaces":["mnt"],"login_uid":1000,"container":{"id":"c"}},
            "facts":{"file_rates":{"written":5,"entropy":7.9},"beacons":[{"address":"h","times":6,"every_ms":60000}],
            "executable_memory":["//anon"],"ptraced":["sshd"],"modules":["m"],"bpf":["kprobe:x"],
            "mounts":[{"path":"/m"}],"raw_sockets":["raw4"],"logins":[{"success":false,"times":9}]}}"#,
        )
        .unwrap();
        assert_eq!(of(&story).count(), ALL.len());
        let mut rest = story.clone();
        for fact in ALL {
            for language in [Language::En, Language::Zh] {
                let words = fact.words(&story, language);
                assert!(words.chars().count() > 4, "{fact:?}: {words}");
                assert_eq!(words.is_ascii(), language == Language::En, "{words}");
            }
            fact.clear(&mut rest);
        }
        assert_eq!(of(&rest).count(), 0);
        assert!(rest.facts.is_empty());
    }
}
