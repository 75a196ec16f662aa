//! Compiles `error_pages`, and reads their files. It knows nothing of which error a page is for.

use super::Compiler;
use crate::error_pages::{ErrorPages, Page, PageFormat, PageValues, PagesByStatus};
use http::StatusCode;
use std::collections::BTreeMap;
use tidegate_config::{ErrorStatus, Spanned};
use tidegate_http::error_code::ErrorCode;

/// Maximum size of an error page, in bytes: each error sends one.
const MAX_PAGE_BYTES: u64 = 1024 * 1024;

impl Compiler<'_> {
    /// Pages for errors, if there are any.
    pub(super) fn error_pages(&mut self) -> Option<ErrorPages> {
        let written = &self.config.error_pages;
        let pages = ErrorPages {
            html: self.load_pages(&written.pages, PageFormat::Html, "error_pages.pages"),
            json: self.load_pages(&written.json, PageFormat::Json, "error_pages.json"),
            intercepts: written.intercept,
        };
        (!written.pages.is_empty() || !written.json.is_empty()).then_some(pages)
    }

    fn load_pages(
        &mut self,
        written: &BTreeMap<ErrorStatus, Spanned<String>>,
        kind: PageFormat,
        key_path: &str,
    ) -> PagesByStatus {
        let mut pages = PagesByStatus::default();
        for (status, path) in written {
            let key_path = format!("{key_path}.{}", status.as_str());
            let file = self.path(path);
            let page = match tidegate_disk::read_text(&file, MAX_PAGE_BYTES) {
                Ok(text) => Page::new(kind, &text),
                Err(reason) => {
                    let reason =
                        format!("cannot read the error page `{}`: {reason}", file.display());
                    self.problems.add(path.span, key_path, reason);
                    continue;
                }
            };
            if kind == PageFormat::Json
                && let Err(reason) = is_json(&page)
            {
                let reason = format!(
                    "the error page `{}` is not valid JSON once its placeholders are replaced: \
                     {reason}",
                    file.display()
                );
                self.problems
                    .add(path.span, &*key_path, reason)
                    .help("write placeholders inside JSON strings: `\"{{message}}\"`");
            }
            // What it may be was checked when the file was read.
            let written = status.as_str();
            if let Ok(code) = written.parse() {
                pages.exact.insert(code, page);
            } else if let Some(class) = written.chars().next().and_then(|c| c.to_digit(10)) {
                pages.classes.insert(u16::try_from(class).unwrap_or_default(), page);
            }
        }
        pages
    }
}

/// Whether it is, whatever is filled in.
fn is_json(page: &Page) -> Result<(), serde_json::Error> {
    let example = PageValues {
        status: StatusCode::NOT_FOUND,
        error: ErrorCode::NoRoute.as_str(),
        message: "no route \"matches\"",
        request_id: "0198c2a4-7d1e-7000-8000-000000000000",
    };
    serde_json::from_str::<serde::de::IgnoredAny>(&page.render(example)).map(drop)
}
