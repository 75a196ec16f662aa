use super::Compiler;
use crate::error_pages::{ErrorPages, Page};
use std::io::Read;

/// The most bytes of a page: each error sends one.
const MAX_SIZE: u64 = 1024 * 1024;

impl Compiler<'_> {
    /// Pages for errors, if there are any.
    pub(super) fn error_pages(&mut self) -> Option<ErrorPages> {
        let written = &self.config.error_pages;
        let mut pages = ErrorPages { intercepts: written.intercept, ..ErrorPages::default() };
        for (status, path) in &written.pages {
            let page = match read(path) {
                Ok(html) => Page::new(&html),
                Err(reason) => {
                    let at = format!("error_pages.pages.{}", status.as_str());
                    let reason = format!("`{}` can't be read: {reason}", path.value);
                    self.problems.add(path.span, at, reason);
                    continue;
                }
            };
            // What it may be was checked when the file was read.
            let written = status.as_str();
            if let Ok(code) = written.parse() {
                pages.exact.insert(code, page);
            } else if let Some(class) = written.chars().next().and_then(|c| c.to_digit(10)) {
                pages.classes.insert(u16::try_from(class).unwrap_or_default(), page);
            }
        }
        (!written.pages.is_empty()).then_some(pages)
    }
}

fn read(path: &str) -> Result<String, String> {
    let mut html = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_SIZE + 1).read_to_string(&mut html).map_err(|error| error.to_string())?;
    match html.len() as u64 > MAX_SIZE {
        true => Err(format!("it is larger than {} MiB", MAX_SIZE / 1024 / 1024)),
        false => Ok(html),
    }
}
