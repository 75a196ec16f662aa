//! The last lines of the log, kept in memory for the admin endpoint. It knows nothing of levels or of files.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Maximum number of lines that are kept.
const MAX_KEPT_LINES: usize = 1000;

/// Size of the chunks of memory that hold the lines, in bytes; an allocation for each short line would take more.
const CHUNK_BYTES: usize = 16 * 1024;

/// The last lines of a log, for who looks on.
#[derive(Debug, Default)]
pub(crate) struct RecentLines(Mutex<LineStore>);

#[derive(Debug, Default)]
struct LineStore {
    /// Pieces of the log, the last lines of all among them.
    pieces: VecDeque<LineChunk>,
    /// How many lines the pieces have.
    line_count: usize,
    /// How many lines there have been.
    count: u64,
}

/// Lines, one after the other.
#[derive(Debug)]
struct LineChunk {
    text: Vec<u8>,
    lines: usize,
}

impl LineChunk {
    fn add(&mut self, text: &[u8], lines: usize) {
        self.text.extend_from_slice(text);
        self.lines += lines;
    }
}

impl RecentLines {
    /// Adds this number of lines, with their line feeds.
    pub(super) fn add(&self, text: &[u8], lines: usize) {
        // No more than can be asked for: a full queue is many times as much.
        let text = match lines.checked_sub(MAX_KEPT_LINES) {
            None | Some(0) => text,
            Some(skipped) => text.splitn(skipped + 1, |byte| *byte == b'\n').last().unwrap_or(text),
        };
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.count += lines as u64;
        let lines = lines.min(MAX_KEPT_LINES);
        recent.line_count += lines;
        match recent.pieces.back_mut() {
            Some(last) if last.text.len() + text.len() <= CHUNK_BYTES => last.add(text, lines),
            _ => {
                let room = Vec::with_capacity(text.len().max(CHUNK_BYTES));
                let mut piece = LineChunk { text: room, lines: 0 };
                piece.add(text, lines);
                recent.pieces.push_back(piece);
            }
        }
        while let Some(first) = recent.pieces.front().map(|first| first.lines)
            && recent.line_count - first >= MAX_KEPT_LINES
        {
            recent.pieces.pop_front();
            recent.line_count -= first;
        }
    }

    /// The lines after the one of this number, at most so many, the newest; and the number of the
    /// newest of all.
    pub(crate) fn lines_after(&self, number: u64, limit: usize) -> (u64, Vec<String>) {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A number from the future is one of another process.
        let new = recent.count.checked_sub(number).unwrap_or(recent.count);
        let wanted = usize::try_from(new)
            .unwrap_or(limit)
            .min(limit)
            .min(recent.line_count)
            .min(MAX_KEPT_LINES);
        let lines =
            recent.pieces.iter().flat_map(|piece| piece.text.split_inclusive(|it| *it == b'\n'));
        let lines = lines.skip(recent.line_count - wanted);
        (
            recent.count,
            lines.map(|line| String::from_utf8_lossy(line).trim_end().to_owned()).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_of_recent_lines_sees_each_line_once() {
        let recent = RecentLines::default();
        let add = |range: std::ops::Range<u64>| {
            let lines: Vec<String> = range.map(|number| format!("{number}\n")).collect();
            recent.add(lines.concat().as_bytes(), lines.len());
        };
        add(0..3);
        let (seen, lines) = recent.lines_after(0, 10);
        assert_eq!((seen, lines.join(" ")), (3, "0 1 2".to_owned()));
        assert_eq!(recent.lines_after(seen, 10), (3, Vec::new()));
        add(3..5);
        assert_eq!(recent.lines_after(seen, 10), (5, vec!["3".to_owned(), "4".to_owned()]));
        assert_eq!(recent.lines_after(seen, 1), (5, vec!["4".to_owned()]), "the newest");
        assert_eq!(recent.lines_after(99, 10).1.len(), 5);
        add(5..5000);
        let kept =
            |first: u64| (first..first + MAX_KEPT_LINES as u64).map(|it| it.to_string()).collect();
        assert_eq!(recent.lines_after(0, usize::MAX), (5000, kept(4000)));
        for number in 5000..5010 {
            add(number..number + 1);
        }
        assert_eq!(recent.lines_after(0, usize::MAX), (5010, kept(4010)));
    }
}
