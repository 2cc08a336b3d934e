//! What of a long session or script is read where there is no room for all of it.

/// Tokens that a line of a long session has at least, its mark included.
pub(super) const LEAST_OF_LINE: usize = 8;

/// Of a text that is too long to be read whole, so many bytes are looked at for its telling lines: half of them from
/// its beginning, half from its end.
const LOOKED_AT: usize = 1 << 16;
/// Where there is no room for so many lines, the beginning of the text says more.
pub(super) const LINES_APART: usize = 4;

/// The statements of a text with what ends them, but for comments and for those that no word is in.
pub(super) fn statements(text: &str) -> Vec<&str> {
    let is_telling = |line: &&str| {
        let is_comment = line.trim_start().starts_with('#');
        !is_comment && line.contains(char::is_alphanumeric)
    };
    let (head, tail) = if text.len() > LOOKED_AT {
        let half = LOOKED_AT / 2;
        let tail = text.ceil_char_boundary(text.len() - half);
        (&text[..text.floor_char_boundary(half)], &text[tail..])
    } else {
        (text, "")
    };
    [head, tail]
        .into_iter()
        .flat_map(|part| part.split_inclusive(['\n', ';', '&']))
        .filter(is_telling)
        .collect()
}

/// At most `most` lines in their order: of a longer session the shortest lines go first, for they say least.
pub(super) fn telling<T: AsRef<str>>(session: &[T], most: usize) -> Vec<&str> {
    let mut order: Vec<usize> = (0..session.len()).collect();
    if session.len() > most {
        order.sort_by_key(|index| std::cmp::Reverse(session[*index].as_ref().len()));
        order.truncate(most);
        order.sort_unstable();
    }
    order.iter().map(|index| session[*index].as_ref()).collect()
}
