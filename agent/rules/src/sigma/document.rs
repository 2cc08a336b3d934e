//! One YAML document to one rule.

use std::sync::Arc;

use super::condition::{self, Condition};
use super::expr::Expr;
use super::field::Category;
use super::literal::Collector;
use super::refuse::{Refusal, broken, unsupported};
use super::selection::Reader;
use super::{Level, Rule};
use crate::problem::{cut, quoted};
use crate::yaml::{Node, Value};

const MOST_TITLE: usize = 256;
/// Most nodes of one rule, each selection counted as often as the condition names it.
const MOST_NODES: usize = 20_000;

/// What the document calls itself, also where it is no rule.
pub(super) fn name(node: &Node) -> String {
    let of = |key| node.get(key).and_then(Node::text);
    let name = of("id").or_else(|| of("title")).unwrap_or_default();
    cut(name, MOST_TITLE).to_owned()
}

/// Reads a rule; `file` names its file.
pub(super) fn read(
    node: &Node,
    file: &Arc<str>,
    literals: &mut Collector,
) -> Result<Rule, Refusal> {
    if !matches!(node.value, Value::Map(_)) {
        return Err(broken("a rule is a map of title, logsource, detection ..."));
    }
    let foreign = [
        (
            "correlation",
            "a correlation: Cordon matches one story at a time",
        ),
        ("filter", "a filter for other rules: write an exception"),
        ("action", "a collection action: write each rule out"),
    ];
    for (key, why) in foreign {
        if let Some(there) = node.get(key) {
            return Err(unsupported(why).at(there.line));
        }
    }
    let title = text(node, "title")?.ok_or_else(|| broken("title is missing"))?;
    let title_zh = text(node, "title_zh")?.unwrap_or(title);
    let id = text(node, "id")?.unwrap_or(title);
    let status = text(node, "status")?.unwrap_or_default();
    if matches!(status, "deprecated" | "unsupported") {
        return Err(unsupported(format!("the rule's own status is {status}")));
    }
    let category = category(node)?;
    Ok(Rule {
        id: cut(id, MOST_TITLE).to_owned(),
        title: cut(title, MOST_TITLE).to_owned(),
        title_zh: cut(title_zh, MOST_TITLE).to_owned(),
        level: level(node)?,
        techniques: techniques(node)?,
        file: Arc::clone(file),
        line: node.line,
        category,
        expr: detection(node, category, literals)?,
    })
}

/// The text of a key; an error where it is something else.
fn text<'a>(node: &'a Node, key: &str) -> Result<Option<&'a str>, Refusal> {
    match node.get(key) {
        None => Ok(None),
        Some(found) => match found.text() {
            Some(text) if !text.trim().is_empty() => Ok(Some(text)),
            _ => Err(broken(format!("{key} is no text")).at(found.line)),
        },
    }
}

fn level(node: &Node) -> Result<Level, Refusal> {
    let Some(name) = text(node, "level")? else {
        // Nothing may be done on the word of a rule that does not say how sure it is.
        return Ok(Level::Informational);
    };
    Level::named(name).ok_or_else(|| {
        broken(format!(
            "level is {}, wanted informational, low, medium, high or critical",
            quoted(name)
        ))
    })
}

/// Of tags like `attack.t1059.004`.
fn techniques(node: &Node) -> Result<Vec<String>, Refusal> {
    let Some(tags) = node.get("tags") else {
        return Ok(Vec::new());
    };
    let mut techniques = Vec::new();
    for tag in tags.items() {
        let Some(tag) = tag.text() else {
            return Err(broken("a tag is no text").at(tag.line));
        };
        let id = tag.strip_prefix("attack.").filter(|id| is_technique(id));
        techniques.extend(id.map(str::to_ascii_uppercase));
    }
    techniques.truncate(16);
    Ok(techniques)
}

fn is_technique(id: &str) -> bool {
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let Some(number) = id.strip_prefix(['t', 'T']) else {
        return false;
    };
    match number.split_once('.') {
        Some((whole, part)) => digits(whole, 4) && digits(part, 3),
        None => digits(number, 4),
    }
}

fn category(node: &Node) -> Result<Category, Refusal> {
    let source = node
        .get("logsource")
        .ok_or_else(|| broken("logsource is missing"))?;
    let at = |refusal: Refusal| refusal.at(source.line);
    let product = text(source, "product")?.unwrap_or("linux");
    if product != "linux" {
        let why = format!("logsource.product is {}, not linux", quoted(product));
        return Err(at(unsupported(why)));
    }
    if let Some(service) = text(source, "service")? {
        let why = format!(
            "logsource.service {}: a story has no raw lines of a log",
            quoted(service)
        );
        return Err(at(unsupported(why)));
    }
    let name =
        text(source, "category")?.ok_or_else(|| at(broken("logsource.category is missing")))?;
    Category::named(name).ok_or_else(|| {
        let why = format!(
            "logsource.category {}, known are {}",
            quoted(name),
            Category::names()
        );
        at(unsupported(why))
    })
}

fn detection(node: &Node, category: Category, literals: &mut Collector) -> Result<Expr, Refusal> {
    let detection = node
        .get("detection")
        .ok_or_else(|| broken("detection is missing"))?;
    let Value::Map(entries) = &detection.value else {
        return Err(broken("detection is no map").at(detection.line));
    };
    if let Some(frame) = detection.get("timeframe") {
        return Err(unsupported("a timeframe: Cordon matches one story at a time").at(frame.line));
    }
    let selections = entries.iter().filter(|(name, _)| name != "condition");
    let selections: Vec<&(String, Node)> = selections.collect();
    let names: Vec<&str> = selections.iter().map(|(name, _)| name.as_str()).collect();
    let condition = conditions(detection, &names)?;
    let mut reader = Reader { category, literals };
    // Each is read, also one that the condition does not name: it may be the one with the mistake.
    let mut made = Vec::new();
    for (_, selection) in &selections {
        made.push(Some(reader.selection(selection)?));
    }
    let mut nodes = 0;
    Expr::of(&condition, &mut |at| {
        let one = made[at].take();
        let one = one.map_or_else(|| reader.selection(&selections[at].1), Ok)?;
        nodes += one.size();
        if nodes > MOST_NODES {
            return Err(broken("the detection is too large: divide the rule"));
        }
        Ok(one)
    })
}

/// Several conditions are as many ways to match.
fn conditions(detection: &Node, names: &[&str]) -> Result<Condition, Refusal> {
    let node = detection
        .get("condition")
        .ok_or_else(|| broken("detection.condition is missing").at(detection.line))?;
    let mut all = Vec::new();
    for item in node.items().iter().take(64) {
        let text = item
            .text()
            .ok_or_else(|| broken("condition is no text").at(item.line))?;
        all.push(condition::read(text, names).map_err(|refusal| refusal.at(item.line))?);
    }
    match all.len() {
        0 => Err(broken("condition is empty").at(node.line)),
        1 => Ok(all.remove(0)),
        _ => Ok(Condition::Any(all)),
    }
}
