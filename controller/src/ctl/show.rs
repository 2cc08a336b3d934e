//! Text for people at a terminal. Endpoint text is hostile: every cell is made harmless first.

use cordon_analyst::clean::plain;
use jiff::Timestamp;
use jiff::tz::TimeZone;

const GAP: &str = "  ";

/// Rows under headings, in columns as wide as their widest cell.
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    empty: &'static str,
}

impl Table {
    /// `empty` is said instead when there are no rows.
    pub fn new(headings: &[&'static str], empty: &'static str) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
            empty,
        }
    }

    /// Adds a row. Cells are bounded and harmless from here on.
    pub fn row(&mut self, cells: &[&str]) {
        let cells = cells.iter().map(|cell| cell_text(cell));
        self.rows.push(cells.collect());
    }

    /// The whole, with a line break at the end.
    pub fn render(&self) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.empty);
        }
        let headings: Vec<String> = self.headings.iter().map(|h| (*h).to_owned()).collect();
        let lines = || std::iter::once(&headings).chain(&self.rows);
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| lines().map(|line| width(&line[column])).max().unwrap_or(0))
            .collect();
        lines().map(|line| render_line(line, &widths)).collect()
    }
}

fn cell_text(cell: &str) -> String {
    let text = plain(cell, 160);
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

fn render_line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, wanted)| {
        let space = " ".repeat(wanted - width(cell));
        format!("{cell}{space}")
    });
    let line = padded.collect::<Vec<_>>().join(GAP);
    format!("{}\n", line.trim_end())
}

/// Columns on a terminal: East Asian wide characters take two.
fn width(text: &str) -> usize {
    let wide = |c: char| {
        matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}'
            | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1f9ff}' | '\u{20000}'..='\u{3fffd}')
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// A moment to the second, UTC.
pub fn time(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::UTC);
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A moment, or a word when there is none.
pub fn time_or(at: Option<Timestamp>, none: &str) -> String {
    at.map_or_else(|| none.to_owned(), time)
}

/// A paragraph with a heading.
pub fn section(heading: &str, lines: &[String]) -> String {
    format!("\n{heading}\n  {}\n", lines.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_hostile_cells_stay_in_their_line() {
        let mut table = Table::new(&["NAME", "STATE"], "nothing");
        table.row(&["ep1\n\x1b[2Jowned", "online"]);
        table.row(&["主机", ""]);
        let lines: Vec<String> = table.render().lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "NAME           STATE",
                "ep1␊␛[2Jowned  online",
                "主机           -",
            ]
        );
    }

    #[test]
    fn an_empty_table_says_so() {
        assert_eq!(Table::new(&["A"], "no hosts").render(), "no hosts\n");
    }
}
