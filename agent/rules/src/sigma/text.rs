//! Texts as rules write them: wildcards, and what is looked for in encoded form.

use base64::Engine as _;

use super::refuse::{Refusal, broken};

/// How a text is encoded before it is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Base64,
    Base64Offset,
}

/// A text with wildcards inside it.
pub(super) fn glob(tokens: &[Token], open_start: bool, open_end: bool) -> String {
    let mut pattern = String::from(if open_start { "" } else { r"\A" });
    for token in tokens {
        match token {
            Token::Text(text) => pattern.push_str(&regex::escape(text)),
            Token::Star => pattern.push_str(".*"),
            // One character, however many bytes.
            Token::Question => pattern.push_str("(?u:.)"),
        }
    }
    pattern + if open_end { "" } else { r"\z" }
}

/// A piece of a text with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Text(String),
    Star,
    Question,
}

/// A backslash takes its meaning from `*`, `?` and another backslash, and is itself before anything else.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let (mut tokens, mut plain) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let end = |plain: &mut String, tokens: &mut Vec<Token>| {
        if !plain.is_empty() {
            tokens.push(Token::Text(std::mem::take(plain)));
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next_if(|next| matches!(next, '*' | '?' | '\\'));
                plain.push(escaped.unwrap_or('\\'));
            }
            '*' => {
                end(&mut plain, &mut tokens);
                if tokens.last() != Some(&Token::Star) {
                    tokens.push(Token::Star);
                }
            }
            '?' => {
                end(&mut plain, &mut tokens);
                tokens.push(Token::Question);
            }
            other => plain.push(other),
        }
    }
    end(&mut plain, &mut tokens);
    tokens
}

/// The forms of `text` of which one is there where it was encoded.
pub(super) fn encoded(encoding: Encoding, text: &str) -> Result<Vec<String>, Refusal> {
    let base64 = base64::engine::general_purpose::STANDARD;
    if text.len() < 3 {
        return Err(broken("base64 of fewer than 3 bytes is found everywhere"));
    }
    if encoding == Encoding::Base64 {
        return Ok(vec![base64.encode(text)]);
    }
    // With 0, 1 and 2 bytes before it, less the letters that those or what follows have a part in.
    let at = |offset: usize| {
        let mut bytes = vec![b' '; offset];
        bytes.extend_from_slice(text.as_bytes());
        let whole = base64.encode(&bytes);
        let start = [0, 2, 3][offset];
        let end = match bytes.len() % 3 {
            0 => 0,
            1 => 3,
            _ => 2,
        };
        whole[start..whole.len() - end].to_owned()
    };
    Ok((0..3).map(at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backslashes_mean_what_the_specification_says() {
        let text = |text: &str| Token::Text(text.to_owned());
        assert_eq!(tokens(r"a\*b"), [text("a*b")]);
        assert_eq!(tokens(r"a\\*"), [text(r"a\"), Token::Star]);
        assert_eq!(tokens(r"C:\x\y"), [text(r"C:\x\y")]);
        assert_eq!(
            tokens("**a??"),
            [Token::Star, text("a"), Token::Question, Token::Question]
        );
        assert_eq!(tokens(r"\"), [text(r"\")]);
    }

    #[test]
    fn base64_is_found_at_each_offset() {
        let forms = encoded(Encoding::Base64Offset, "/bin/bash").unwrap();
        let base64 = base64::engine::general_purpose::STANDARD;
        for before in ["", "x", "xy", "xyz", "abcd"] {
            for after in ["", " ", " -i", " -c"] {
                let whole = base64.encode(format!("{before}/bin/bash{after}"));
                assert!(
                    forms.iter().any(|form| whole.contains(form)),
                    "{before}|{after}"
                );
            }
        }
    }
}
