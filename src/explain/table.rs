//! Formats a difference as a table for terminals: setting, before, after. Compares nothing.

use super::change::Change;
use super::difference::{Difference, route_or_none};
use super::traffic::Moved;

/// Maximum width of a table, in columns.
const MAX_WIDTH_CHARS: usize = 100;

/// Maximum width of the first column, in columns of the terminal.
const MAX_FIRST_COLUMN_CHARS: usize = 44;

/// Space between two columns.
const COLUMN_GAP: usize = 2;

/// The meaning of a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellStyle {
    Plain,
    Heading,
    New,
    Gone,
    Otherwise,
}

impl CellStyle {
    /// The sequence that begins it (ECMA-48, SGR).
    fn ansi_sequence(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "\x1b[1m",
            Self::New => "\x1b[32m",
            Self::Gone => "\x1b[31m",
            Self::Otherwise => "\x1b[33m",
        }
    }
}

/// One row: its three cells, each with its colour.
type Row = [(String, CellStyle); 3];

impl Difference {
    /// What differs as a table that fits 100 columns; empty when nothing does.
    pub fn table(&self, is_coloured: bool) -> String {
        let rows = self.rows();
        if rows.is_empty() {
            return String::new();
        }
        let heading = ["", "before", "after"].map(|it| (it.to_owned(), CellStyle::Heading));
        let rows: Vec<Row> = std::iter::once(heading).chain(rows).collect();
        // Titles of routes may reach into the other columns, which are empty there.
        let is_title = |row: &Row| row.iter().skip(1).all(|(text, _)| text.is_empty());
        let widest = |column: usize| {
            let rows = rows.iter().filter(|row| !is_title(row));
            let cells = rows.filter_map(|row| row.get(column));
            cells.map(|(text, _)| text.chars().count()).max().unwrap_or_default()
        };
        let first = widest(0).min(MAX_FIRST_COLUMN_CHARS);
        let rest = MAX_WIDTH_CHARS - first - 2 * COLUMN_GAP;
        let (before, after) = (widest(1), widest(2));
        // What one of them does not need is the other's.
        let second = before.min((rest / 2).max(rest.saturating_sub(after)));
        let widths = [first, second, after.min(rest - second)];
        let mut table = String::new();
        for row in &rows {
            let widths = if is_title(row) { [MAX_WIDTH_CHARS, 0, 0] } else { widths };
            write(row, widths, is_coloured, &mut table);
        }
        table
    }

    fn rows(&self) -> Vec<Row> {
        let cell = |text: &str, tone| (text.to_owned(), tone);
        let mut rows: Vec<Row> = Vec::new();
        let of = |label: String, before: &str, after: &str| -> Row {
            [
                (label, CellStyle::Otherwise),
                cell(before, CellStyle::Gone),
                cell(after, CellStyle::New),
            ]
        };
        let added = |label: String, after: &str| -> Row {
            [(label, CellStyle::New), cell("", CellStyle::Plain), cell(after, CellStyle::New)]
        };
        let removed = |label: String, before: &str| -> Row {
            [(label, CellStyle::Gone), cell(before, CellStyle::Gone), cell("", CellStyle::Plain)]
        };
        rows.extend(self.listeners_added.iter().map(|it| added(format!("+ listener {it}"), "")));
        rows.extend(
            self.listeners_removed.iter().map(|it| removed(format!("- listener {it}"), "")),
        );
        for Change { what, before, after } in &self.settings {
            rows.push(of(format!("~ {what}"), before, after));
        }
        for (name, conditions) in &self.added {
            rows.push(added(format!("+ route {name}"), &conditions.join(", ")));
        }
        for (name, conditions) in &self.removed {
            rows.push(removed(format!("- route {name}"), &conditions.join(", ")));
        }
        for (name, changes) in &self.changed {
            rows.push(of(format!("~ route {name}"), "", ""));
            for Change { what, before, after } in changes {
                rows.push(of(format!("    {what}"), before, after));
            }
        }
        for Moved { request, before, after } in &self.moved {
            rows.push(of(
                format!("> {request}"),
                route_or_none(before.as_deref()),
                route_or_none(after.as_deref()),
            ));
        }
        for key in &self.restart_needed {
            rows.push(of(format!("! {key}"), "", "takes effect after a restart"));
        }
        for (name, impact) in &self.sessions {
            rows.push(of(format!("! sessions of {name}"), "live", &impact.to_string()));
        }
        rows
    }
}

/// Writes a row on one or more lines.
fn write(row: &Row, widths: [usize; 3], is_coloured: bool, table: &mut String) {
    let cells: Vec<Vec<String>> =
        row.iter().zip(widths).map(|((text, _), width)| wrap_text(text, width)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or_default();
    for line in 0..height {
        let mut written = String::new();
        let mut blank = 0;
        for (((_, tone), lines), width) in row.iter().zip(&cells).zip(widths) {
            let text = lines.get(line).map(String::as_str).unwrap_or_default();
            if !text.is_empty() {
                written.extend(std::iter::repeat_n(' ', blank));
                blank = 0;
                let sequence = if is_coloured { tone.ansi_sequence() } else { "" };
                written.push_str(sequence);
                written.push_str(text);
                if !sequence.is_empty() {
                    written.push_str("\x1b[0m");
                }
            }
            blank += width.saturating_sub(text.chars().count()) + COLUMN_GAP;
        }
        table.push_str(&written);
        table.push('\n');
    }
}

/// The text wrapped at this width, between words if possible; continuation lines keep the indent of the first.
fn wrap_text(text: &str, width: usize) -> Vec<String> {
    let text: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let indent = text.iter().take_while(|c| **c == ' ').count();
    let mut lines = Vec::new();
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        let indent = if lines.is_empty() { 0 } else { (indent + 2).min(width / 2) };
        let room = width.saturating_sub(indent).max(1);
        let (line, more) = match rest.split_at_checked(room) {
            None => (rest, &[][..]),
            Some((line, [])) => (line, &[][..]),
            Some((line, more)) => {
                // A space that comes first is the indent of the first line.
                let space = line.iter().rposition(|c| *c == ' ').filter(|at| *at > room / 2);
                match space {
                    Some(at) if !more.starts_with(&[' ']) => {
                        (rest.get(..at).unwrap_or(line), rest.get(at + 1..).unwrap_or(more))
                    }
                    _ => (line, more.strip_prefix(&[' ']).unwrap_or(more)),
                }
            }
        };
        lines.push(" ".repeat(indent) + &line.iter().collect::<String>());
        rest = more;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(what: &'static str, before: &str, after: &str) -> Change {
        Change { what: what.into(), before: before.to_owned(), after: after.to_owned() }
    }

    #[test]
    fn table_aligns_columns_and_wraps_long_values() {
        let words = "CORS: origins https://shop.example https://www.shop.example; methods GET";
        let mut difference = Difference::default();
        let changes = vec![change("timeouts.read", "5s", "9s"), change("filters", words, "none")];
        difference.changed.insert("users".to_owned(), changes);
        difference.settings.push(change("limits.header_size", "64KiB", &"x".repeat(150)));
        let table = difference.table(false);
        assert!(table.lines().all(|line| line.chars().count() <= MAX_WIDTH_CHARS), "{table}");
        assert!(!table.contains('\x1b'), "{table}");
        let column = |line: &str, text: &str| {
            let line = table.lines().find(|it| it.contains(line)).expect(line);
            line.find(text).map(|at| line[..at].chars().count())
        };
        assert_eq!(column("before", "before"), column("timeouts.read", "5s"));
        assert_eq!(column("before", "after"), column("timeouts.read", "9s"));
        assert_eq!(column("before", "after"), column("filters", "none"));
        let joined: String = table.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        assert!(joined.contains("www.shop.example;"), "{table}");
        assert_eq!(table.matches('x').count(), 150 + words.matches('x').count(), "{table}");
    }

    #[test]
    fn coloured_table_has_the_same_text() {
        let mut difference = Difference::default();
        difference.settings.push(change("limits.uri_size", "16KiB", "8KiB"));
        difference.removed.insert("old".to_owned(), vec!["path is /old".to_owned()]);
        let coloured = difference.table(true);
        assert!(coloured.contains("\x1b[31m16KiB\x1b[0m"), "{coloured}");
        assert!(coloured.contains("\x1b[32m8KiB\x1b[0m"), "{coloured}");
        let bare = [CellStyle::Heading, CellStyle::New, CellStyle::Gone, CellStyle::Otherwise]
            .iter()
            .fold(coloured.replace("\x1b[0m", ""), |text, it| text.replace(it.ansi_sequence(), ""));
        assert_eq!(bare, difference.table(false));
    }
}
