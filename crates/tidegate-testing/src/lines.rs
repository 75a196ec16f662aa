//! The lines of a child process's output, as they arrive. It does not know what a line means.

use std::io::{BufRead, BufReader, Read};
use tokio::sync::watch;

/// The lines of a child's output, as they arrive.
#[derive(Clone)]
pub struct Lines(watch::Receiver<Vec<String>>);

impl Lines {
    /// Reads on a thread of its own until the output ends.
    pub fn read_from(output: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(Vec::new());
        std::thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                sender.send_modify(|lines| lines.push(text));
                line.clear();
            }
        });
        Self(receiver)
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// The number of lines so far.
    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// The first line from `start` on that `pick` accepts, received or still to come.
    pub async fn find<T>(&self, what: &str, start: usize, pick: impl Fn(&str) -> Option<T>) -> T {
        let mut lines = self.0.clone();
        let found = tokio::time::timeout(super::WAIT_TIMEOUT, async {
            let mut seen = start;
            loop {
                {
                    let lines = lines.borrow_and_update();
                    let new = lines.get(seen..).unwrap_or_default();
                    if let Some(picked) = new.iter().find_map(|line| pick(line)) {
                        return Some(picked);
                    }
                    seen = seen.max(lines.len());
                }
                if lines.changed().await.is_err() {
                    return None;
                }
            }
        })
        .await;
        match found {
            Ok(Some(picked)) => picked,
            _ => panic!("no line with {what} in:\n{}", self.all().join("\n")),
        }
    }
}
