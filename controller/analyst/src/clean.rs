//! Endpoint text is hostile: it is made visible, bounded and unable to steer a terminal, a page, a
//! chat client or a reader's eye before it becomes part of a sentence.

/// Marks pile up on one letter and spill over neighbouring lines; no honest word needs more.
const MAX_STACKED_MARKS: usize = 3;

/// `text` in at most `max_chars` characters, with every control, bidirectional and invisible
/// character spelled out. What was cut is marked by `…`.
pub fn plain(text: &str, max_chars: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max_chars * 4));
    let mut used = 0;
    let mut stacked = 0;
    for c in text.chars() {
        stacked = if is_combining(c) { stacked + 1 } else { 0 };
        let shown = shown(c, stacked);
        let length = shown.as_deref().map_or(1, |s| s.chars().count());
        if used + length > max_chars {
            while used + 1 > max_chars && out.pop().is_some() {
                used -= 1;
            }
            out.push('…');
            return out;
        }
        used += length;
        match shown {
            Some(spelled) => out.push_str(&spelled),
            None => out.push(c),
        }
    }
    out
}

/// [`plain`], in quotation marks that the text itself cannot close.
pub fn quoted(text: &str, max_chars: usize) -> String {
    let inner = plain(text, max_chars).replace(['“', '”'], "\"");
    format!("“{inner}”")
}

/// How a character that must not appear as it is does appear.
fn shown(c: char, stacked: usize) -> Option<String> {
    match c {
        // Unicode has a picture for each C0 control.
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).map(String::from),
        '\x7f' => Some('\u{2421}'.into()),
        _ if is_invisible(c) || stacked > MAX_STACKED_MARKS => {
            Some(format!("⟨U+{:04X}⟩", c as u32))
        }
        _ => None,
    }
}

/// Controls, bidirectional overrides, zero-width characters, fillers, separators, tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_combining(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_characters_become_visible() {
        for (text, wanted) in [
            ("plain text, 中文", "plain text, 中文"),
            ("a\nb\tc\x1b[31m", "a␊b␉c␛[31m"),
            ("exe\u{202e}gpj.sh", "exe⟨U+202E⟩gpj.sh"),
            ("pay\u{200b}load\u{feff}", "pay⟨U+200B⟩load⟨U+FEFF⟩"),
            ("\u{e0041}tag", "⟨U+E0041⟩tag"),
            ("x\u{85}y\u{7f}", "x⟨U+0085⟩y␡"),
            ("e\u{301}", "e\u{301}"),
        ] {
            assert_eq!(plain(text, 100), wanted);
        }
    }

    #[test]
    fn a_tower_of_marks_is_cut_down() {
        let tower = format!("a{}", "\u{301}".repeat(50));
        assert_eq!(plain(&tower, 1000).matches('\u{301}').count(), 3);
    }

    #[test]
    fn length_is_bounded_and_the_cut_is_marked() {
        assert_eq!(plain("abcdef", 6), "abcdef");
        assert_eq!(plain("abcdefg", 6), "abcde…");
        for max in 1..40 {
            let cut = plain("\u{202e}\u{202e}\u{202e}\u{202e}xyz and more", max);
            assert!(cut.chars().count() <= max, "{cut}");
        }
    }

    #[test]
    fn quoted_text_cannot_close_its_quotation() {
        assert_eq!(
            quoted("a” said the host “b", 100),
            "“a\" said the host \"b”"
        );
    }
}
