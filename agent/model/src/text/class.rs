//! Where text is cut: what each character is to the cutter.

/// What a character is to the cutter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Between pieces: white space, control characters, punctuation that says little.
    Gap,
    /// Part of a word, a path, an address.
    Atom,
    /// Punctuation that means something.
    Mark,
}

/// Nearly all text is ASCII, and looked up.
const ASCII: [Class; 128] = {
    let mut table = [Class::Mark; 128];
    let mut byte = 0;
    while byte < 128 {
        table[byte as usize] = match byte {
            0..=b' ' | 127 | b'"' | b'\'' | b'\\' | b',' => Class::Gap,
            b'0'..=b'9'
            | b'a'..=b'z'
            | b'A'..=b'Z'
            | b'_'
            | b'.'
            | b'/'
            | b':'
            | b'@'
            | b'%'
            | b'+'
            | b'~'
            | b'='
            | b'-' => Class::Atom,
            _ => Class::Mark,
        };
        byte += 1;
    }
    table
};

/// The character that begins at `at`, and its length; `None` at the end.
pub(super) fn class_at(text: &str, at: usize) -> Option<(Class, usize)> {
    let byte = *text.as_bytes().get(at)?;
    if let Some(class) = ASCII.get(usize::from(byte)) {
        return Some((*class, 1));
    }
    let c = text[at..].chars().next()?;
    let class = if c.is_whitespace() || c.is_control() {
        Class::Gap
    } else if c.is_alphanumeric() {
        Class::Atom
    } else {
        Class::Mark
    };
    Some((class, c.len_utf8()))
}

/// Where the run of characters of one class that begins at `at` ends.
pub(super) fn end_of(text: &str, mut at: usize, class: Class) -> usize {
    while let Some((found, length)) = class_at(text, at) {
        if found != class {
            break;
        }
        at += length;
    }
    at
}

/// Which of the bytes that take an atom apart it has: most have none, and are words.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a byte of its own")]
pub(super) struct Has {
    pub(super) slash: bool,
    pub(super) colon: bool,
    pub(super) equals: bool,
    pub(super) at: bool,
    pub(super) dot: bool,
    pub(super) other_than_digits: bool,
}

impl Has {
    pub(super) fn of(text: &str) -> Self {
        let mut has = Self::default();
        for byte in text.bytes() {
            match byte {
                b'/' => has.slash = true,
                b':' => has.colon = true,
                b'=' => has.equals = true,
                b'@' => has.at = true,
                b'.' => has.dot = true,
                _ => {}
            }
            has.other_than_digits |= !byte.is_ascii_digit();
        }
        has
    }
}
