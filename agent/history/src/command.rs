//! Arguments from a log that writes them as one line.

/// Splits at blanks, except between quotes; a quote that does not end is a character like any other.
/// What a log joined without quotes cannot be told apart again.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = first_word(rest);
        words.push(word);
        rest = after.trim_start();
    }
    words
}

fn first_word(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next().filter(|next| !next.is_whitespace()) {
        let after = &rest[next.len_utf8()..];
        let quoted = matches!(next, '"' | '\'').then(|| after.split_once(next));
        if let Some(Some((inside, after))) = quoted {
            word.push_str(inside);
            rest = after;
        } else {
            word.push(next);
            rest = after;
        }
    }
    (word, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together_and_a_lone_one_does_not() {
        for (line, words) in [
            ("", &[][..]),
            ("  ls   -l ", &["ls", "-l"]),
            ("sh -c \"id; id\"", &["sh", "-c", "id; id"]),
            ("a 'b c'd", &["a", "b cd"]),
            ("echo it's", &["echo", "it's"]),
            ("x ''", &["x", ""]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }
}
