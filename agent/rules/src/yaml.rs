//! YAML as far as Sigma needs it, bounded: a tree with the line of each node.
//!
//! Anchors, aliases and merge keys are refused: a few bytes of them unfold to gigabytes, and no rule needs them.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Most nodes of one document.
const MOST_NODES: usize = 20_000;
/// Most keys of one map.
const MOST_KEYS: usize = 500;
/// Most nested lists and maps.
const DEEPEST: usize = 32;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// From 1, in the file.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// As written; `plain`: without quotes, so that `null` and `~` mean nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file, keys not repeated.
    Map(Vec<(String, Node)>),
}

/// Where a document cannot be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) line: usize,
    pub(crate) why: String,
}

/// Cuts a file at its document markers, so that one damaged document leaves the others whole. Each piece
/// comes with the number of lines before it.
pub(crate) fn documents(text: &str) -> Vec<(usize, &str)> {
    let (mut pieces, mut start, mut before, mut at) = (Vec::new(), 0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let rest = line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])) {
            pieces.push((before, &text[start..at]));
            start = at;
            before = number;
        }
        at += line.len();
    }
    pieces.push((before, &text[start..]));
    pieces
}

/// Reads one document; `None` where it is empty. `before` lines of the file precede it.
pub(crate) fn read(text: &str, before: usize) -> Result<Option<Node>, Damage> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| Damage {
            line: before + error.marker().line(),
            why: format!("not YAML: {}", error.info()),
        })?;
        let line = before + span.start.line();
        let damage = |why: &str| Damage {
            line,
            why: why.to_owned(),
        };
        match event {
            Event::StreamEnd => break,
            Event::Alias(_) => return Err(damage("an alias (*name): write the value out")),
            event => builder.take(event, line).map_err(damage)?,
        }
    }
    // `--- ` alone is a document that says nothing.
    let is_blank = |node: &Node| node.value.is_null();
    Ok(builder.root.filter(|node| !is_blank(node)))
}

enum Open {
    List(Vec<Node>),
    Map(Vec<(String, Node)>, Option<String>),
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    /// What is not closed yet, with the line of its beginning.
    open: Vec<(usize, Open)>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), &'static str> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let text = text.into_owned();
                self.begin(anchor)?;
                self.put(line, Value::Scalar { text, plain })
            }
            Event::SequenceStart(anchor, _) => self.open(line, anchor, Open::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.open(line, anchor, Open::Map(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((line, Open::List(items))) => self.put(line, Value::List(items)),
                Some((line, Open::Map(entries, _))) => self.put(line, Value::Map(entries)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, line: usize, anchor: usize, what: Open) -> Result<(), &'static str> {
        self.begin(anchor)?;
        if self.open.len() >= DEEPEST {
            return Err("lists and maps are nested deeper than 32");
        }
        self.open.push((line, what));
        Ok(())
    }

    fn begin(&mut self, anchor: usize) -> Result<(), &'static str> {
        self.nodes += 1;
        if anchor > 0 {
            return Err("an anchor (&name): write the value where it is used");
        }
        if self.nodes > MOST_NODES {
            return Err("more than 20,000 values in one document");
        }
        Ok(())
    }

    fn put(&mut self, line: usize, value: Value) -> Result<(), &'static str> {
        let node = Node { line, value };
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((_, Open::List(items))) => items.push(node),
            Some((_, Open::Map(entries, key))) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(new_key(node, entries)?),
            },
        }
        Ok(())
    }
}

fn new_key(node: Node, entries: &[(String, Node)]) -> Result<String, &'static str> {
    let Value::Scalar { text, .. } = node.value else {
        return Err("a key that is not a word");
    };
    if text == "<<" {
        return Err("a merge key (<<): write the keys out");
    }
    if entries.len() >= MOST_KEYS {
        return Err("more than 500 keys in one map");
    }
    // Of two values for one key one would be lost.
    if entries.iter().any(|(key, _)| *key == text) {
        return Err("a key that is there twice");
    }
    Ok(text)
}

impl Value {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

impl Node {
    /// The value of `key`; of nothing that is not a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }

    /// The text of a scalar that is not null.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.value.is_null() => Some(text),
            _ => None,
        }
    }

    /// A list's nodes; what is no list is the only node of one.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        read(text, 0).unwrap_err().why
    }

    #[test]
    fn a_file_is_cut_at_its_markers_and_lines_are_counted_on() {
        let text = "a: 1\n---\nb: [x, 'y']\n--- # more\nc:\n  - d: e\n";
        let pieces = documents(text);
        assert_eq!(pieces.len(), 3);
        let (before, last) = pieces[2];
        let node = read(last, before).unwrap().unwrap();
        let inner = &node.get("c").unwrap().items()[0];
        assert_eq!((inner.line, inner.get("d").unwrap().text()), (6, Some("e")));
        assert_eq!(read("---\n", 0), Ok(None));
        assert_eq!(read("# only words\n", 0), Ok(None));
    }

    #[test]
    fn what_could_unfold_or_be_lost_is_refused() {
        assert!(why("a: &x [1]\nb: *x\n").contains("anchor"));
        assert!(why("b: *x\n").contains("alias") || why("b: *x\n").contains("not YAML"));
        assert!(why("a:\n  <<: {b: 1}\n").contains("merge"));
        assert!(why("a: 1\na: 2\n").contains("twice"));
        assert!(why("[a]: 2\n").contains("key"));
        assert!(why(&"[".repeat(40)).contains("deeper"));
        assert!(why(&format!("[{}]", "a,".repeat(30_000))).contains("20,000"));
    }

    #[test]
    fn damage_has_its_line() {
        let found = read("a: 1\nb: [\n", 10).unwrap_err();
        assert!(found.line >= 12, "{found:?}");
    }
}
