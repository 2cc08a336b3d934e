//! Parts in plain words. What the endpoint wrote is quoted and cut short; whoever shows it escapes it.

use std::ops::Range;

use cordon_behavior::story::{Connection, FileOperation, Process, Relative, StdioKind, Story};
use cordon_model::place;

use crate::part::{Part, Stdio, Text, is_like};

/// Languages that users read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// English.
    En,
    /// Simplified Chinese.
    Zh,
}

/// One phrase in the language that is asked for; both have the same holes in the same order.
macro_rules! say {
    ($language:expr, $en:literal, $zh:literal $(, $value:expr)* $(,)?) => {
        match $language {
            $crate::wording::Language::En => format!($en $(, $value)*),
            $crate::wording::Language::Zh => format!($zh $(, $value)*),
        }
    };
}
pub(crate) use say;

/// Most characters of one quotation.
const MOST_QUOTED: usize = 100;
/// Most parts that one reason names.
const MOST_NAMED: usize = 3;

/// Names `parts` of `story`, which belong to one group unless they are all of them.
pub(crate) fn of(story: &Story, all: &[Part], parts: Range<usize>, language: Language) -> String {
    let named = &all[parts.clone()];
    if parts.len() == all.len()
        && all.len() > 1
        && named.first().map(Part::group) != named.last().map(Part::group)
    {
        return say!(
            language,
            "the story as a whole; no part of it carries the score alone",
            "整体行为; 没有任何单独部分能解释该评分"
        );
    }
    if let Some(words) = one_text(story, named, language) {
        return words;
    }
    let mut words: Vec<String> = named
        .iter()
        .take(MOST_NAMED)
        .map(|part| one(story, part, language))
        .collect();
    if named.len() > MOST_NAMED {
        let more = named.len() - MOST_NAMED;
        words.push(say!(
            language,
            "{} more like these",
            "另有 {} 项类似内容",
            more
        ));
    }
    words.join(", ")
}

/// Pieces of one text with what is between them; lines of one session.
fn one_text(story: &Story, parts: &[Part], language: Language) -> Option<String> {
    match (parts.first()?, parts.last()?) {
        (Part::Text(place, first), Part::Text(other, last)) if place == other => {
            Some(text(story, *place, first.start..last.end, language))
        }
        (Part::Text(Text::Line(first), _), last) if parts.len() > 1 => {
            let last = match last {
                Part::Text(Text::Line(last), _) => last + 1,
                _ => story.session.len(),
            };
            let lines = story.session.get(*first..last)?.iter().take(MOST_QUOTED);
            let lines: Vec<&str> = lines.map(String::as_str).collect();
            Some(say!(
                language,
                "session lines {} to {}: {}",
                "会话第 {} 至 {} 行: {}",
                first + 1,
                last,
                quoted(&lines.join("; "))
            ))
        }
        _ => None,
    }
}

fn one(story: &Story, part: &Part, language: Language) -> String {
    let blank = Process::default();
    let own = story.process.as_ref().unwrap_or(&blank);
    match part {
        Part::Program => say!(
            language,
            "runs {}",
            "运行 {}",
            quoted(program(&own.exe, &own.argv))
        ),
        Part::Directory => say!(language, "works in {}", "工作目录为 {}", quoted(&own.cwd)),
        Part::Stdio(which) => stdio(own, *which, language),
        Part::Terminal if own.tty == Some(true) => {
            say!(language, "has a terminal", "有控制终端")
        }
        Part::Terminal => say!(language, "has no terminal", "没有控制终端"),
        Part::User => user(own, language),
        Part::DeletedExe => say!(
            language,
            "its program file is deleted",
            "其程序文件已被删除"
        ),
        Part::Memfd => say!(
            language,
            "its program is in memory only (memfd)",
            "其程序仅存在于内存中 (memfd)"
        ),
        Part::Text(place, range) => text(story, *place, range.clone(), language),
        Part::Arguments(from) => say!(
            language,
            "{} more arguments",
            "另有 {} 个参数",
            own.argv.len().saturating_sub(*from)
        ),
        Part::Lines(from) => say!(
            language,
            "{} more session lines",
            "另有 {} 行会话内容",
            story.session.len() - from
        ),
        Part::Ancestors(range) => ancestors(&story.ancestors, range, language),
        Part::Children(range) => children(&story.children[range.clone()], language),
        Part::Connections(first) => connections(&story.connections, *first, language),
        Part::Names(range) => names(&story.dns[range.clone()], language),
        Part::Files(range) => files(&story.files[range.clone()], language),
        Part::Fact(fact) => fact.words(story, language),
    }
}

fn program<'a>(exe: &'a str, argv: &'a [String]) -> &'a str {
    match argv.first() {
        Some(name) if exe.is_empty() => name,
        _ => exe,
    }
}

fn kind(kind: StdioKind, language: Language) -> &'static str {
    let (en, zh) = match kind {
        StdioKind::Tty => ("a terminal", "终端"),
        StdioKind::Null => ("/dev/null", "/dev/null"),
        StdioKind::Pipe => ("a pipe", "管道"),
        StdioKind::File => ("a file", "文件"),
        StdioKind::Socket => ("a socket", "网络套接字"),
        StdioKind::UnixSocket => ("a local socket", "本地套接字"),
        StdioKind::Closed => ("closed", "已关闭"),
        StdioKind::Other => ("of another kind", "其他类型"),
        StdioKind::Unknown => ("unknown", "未知"),
    };
    if language == Language::En { en } else { zh }
}

fn stdio(process: &Process, which: Stdio, language: Language) -> String {
    let named = |of: StdioKind| kind(of, language);
    match which {
        Stdio::All => say!(
            language,
            "standard input, output and error are each {}",
            "标准输入, 输出和错误均为{}",
            named(process.stdin)
        ),
        Stdio::Input => say!(
            language,
            "standard input is {}",
            "标准输入为{}",
            named(process.stdin)
        ),
        Stdio::Output => say!(
            language,
            "standard output is {}",
            "标准输出为{}",
            named(process.stdout)
        ),
        Stdio::Error => say!(
            language,
            "standard error is {}",
            "标准错误为{}",
            named(process.stderr)
        ),
    }
}

fn user(process: &Process, language: Language) -> String {
    match (process.uid, process.euid) {
        (Some(uid), Some(euid)) if uid != euid => say!(
            language,
            "runs as user {} with the rights of user {}",
            "以用户 {} 运行, 拥有用户 {} 的权限",
            uid,
            euid
        ),
        (Some(uid), _) | (None, Some(uid)) => {
            say!(language, "runs as user {}", "以用户 {} 运行", uid)
        }
        (None, None) => String::new(),
    }
}

fn text(story: &Story, place: Text, range: Range<usize>, language: Language) -> String {
    let piece = |text: Option<&String>| {
        quoted(
            text.and_then(|text| text.get(range.clone()))
                .unwrap_or_default(),
        )
    };
    let own = || story.process.as_ref();
    match place {
        Text::Argument(index) => say!(
            language,
            "argument {}",
            "参数 {}",
            piece(own().and_then(|process| process.argv.get(index)))
        ),
        Text::Command => say!(
            language,
            "shell text {}",
            "命令文本 {}",
            piece(story.command.as_ref())
        ),
        Text::Line(index) => say!(
            language,
            "session line {}: {}",
            "会话第 {} 行: {}",
            index + 1,
            piece(story.session.get(index))
        ),
    }
}

fn ancestors(ancestors: &[Relative], range: &Range<usize>, language: Language) -> String {
    let nearest = relative(&ancestors[range.start]);
    let mut words = if range.start == 0 {
        say!(language, "parent process {}", "父进程 {}", nearest)
    } else {
        say!(language, "ancestor {}", "上级进程 {}", nearest)
    };
    more(&mut words, range.len(), language);
    words
}

fn children(children: &[Relative], language: Language) -> String {
    let first = children.first().map(relative).unwrap_or_default();
    let mut words = say!(language, "starts {}", "启动 {}", first);
    more(&mut words, children.len(), language);
    words
}

/// The command line where it says more than the program's name.
fn relative(kin: &Relative) -> String {
    let name = place::base(program(&kin.exe, &kin.argv));
    match kin.argv.get(1..) {
        Some(arguments) if !arguments.is_empty() => {
            let line: Vec<&str> = arguments.iter().take(16).map(String::as_str).collect();
            format!("{} {}", quoted(name), quoted(&line.join(" ")))
        }
        _ => quoted(name),
    }
}

fn connections(connections: &[Connection], first: usize, language: Language) -> String {
    let one = &connections[first];
    let protocol = if one.protocol == "udp" { "udp" } else { "tcp" };
    let address = if one.address.contains(':') {
        format!("[{}]", one.address)
    } else {
        one.address.clone()
    };
    let mut words = if one.direction == "in" {
        say!(
            language,
            "accepts {} on port {} ({})",
            "接受来自 {} 到端口 {} 的连接 ({})",
            quoted(&one.address),
            one.port,
            protocol
        )
    } else {
        say!(
            language,
            "connects to {} ({})",
            "连接到 {} ({})",
            quoted(&format!("{address}:{}", one.port)),
            protocol
        )
    };
    let alike = connections.iter().take(256);
    let alike = alike.filter(|other| is_like(one, other)).count();
    more(&mut words, alike, language);
    words
}

fn names(names: &[String], language: Language) -> String {
    let first = quoted(names.first().map_or("", String::as_str));
    let mut words = say!(language, "asks for the name {}", "查询域名 {}", first);
    more(&mut words, names.len(), language);
    words
}

fn files(files: &[FileOperation], language: Language) -> String {
    let Some(first) = files.first() else {
        return String::new();
    };
    let (en, zh) = match first.op.as_str() {
        "write" => ("writes", "写入"),
        "create" => ("creates", "创建"),
        "rename" => ("renames", "重命名"),
        "unlink" => ("deletes", "删除"),
        "link" => ("links", "链接"),
        "chmod" => ("changes the mode of", "修改权限"),
        "read" => ("reads", "读取"),
        _ => ("touches", "操作"),
    };
    let verb = if language == Language::En { en } else { zh };
    let mut words = format!("{verb} {}", quoted(&first.path));
    if first.sensitivity == "decoy" {
        words += &say!(language, ", a decoy", ", 该文件为诱饵");
    }
    more(&mut words, files.len(), language);
    words
}

pub(crate) fn more(words: &mut String, count: usize, language: Language) {
    if count > 1 {
        *words += &say!(
            language,
            " and {} more",
            " 等共 {} 项",
            if language == Language::En {
                count - 1
            } else {
                count
            }
        );
    }
}

pub(crate) fn quoted(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MOST_QUOTED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
