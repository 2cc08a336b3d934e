//! Wildcards in names: `*` is any number of bytes, `?` one of them.

/// Whether all of `text` is as `pattern` says, in time proportional to the product of the lengths.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the last star takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || *wanted == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, taken)) => {
                    retry = Some((after, taken + 1));
                    p = after;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_fit_what_they_should() {
        for (pattern, text, wanted) in [
            ("filter_*", "filter_a", true),
            ("*", "x", true),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*b*c", "abbc", true),
            ("a*c*e", "abcd", false),
            ("a*a", "a", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a]", "a", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
