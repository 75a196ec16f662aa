//! The operator's pages for errors: HTML for browsers, JSON for programs, with the values of the error filled in. Knows
//! nothing of when an error occurs.

use http::StatusCode;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tidegate_http::accept::{Accept, MediaType};

/// Pages by the status that they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ErrorPages {
    /// HTML.
    pub html: PagesByStatus,
    /// JSON.
    pub json: PagesByStatus,
    /// Whether errors of upstreams get them as well.
    pub intercepts: bool,
}

/// The pages in one format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PagesByStatus {
    /// For one status.
    pub exact: BTreeMap<u16, Page>,
    /// For a class, by its first digit.
    pub classes: BTreeMap<u16, Page>,
}

/// The format of a page, which decides how values are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageFormat {
    /// HTML.
    Html,
    /// JSON, whose strings have the places in them.
    Json,
}

/// The values of an error that a page can show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageValues<'e> {
    /// The status.
    pub status: StatusCode,
    /// The error's name.
    pub error: &'e str,
    /// What it says.
    pub message: &'e str,
    /// The request's id.
    pub request_id: &'e str,
}

/// The body of an error without a configured page: JSON, or text for a client that prefers it.
pub(crate) fn render_without_page(values: PageValues<'_>, accept: Accept) -> (MediaType, String) {
    let PageValues { status: _, error, message, request_id } = values;
    match accept.preferred_without_html() {
        text @ MediaType::Text => (text, format!("{error}: {message}\nrequest id: {request_id}\n")),
        json @ (MediaType::Json | MediaType::Html) => {
            let body =
                serde_json::json!({"error": error, "message": message, "request_id": request_id});
            (json, body.to_string())
        }
    }
}

/// A page with placeholders for the values of the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    kind: PageFormat,
    pieces: Vec<PagePiece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PagePiece {
    Text(String),
    Status,
    Reason,
    Error,
    Message,
    RequestId,
}

impl ErrorPages {
    /// Whether there is one for this status, of whichever kind.
    pub(crate) fn has_page(&self, status: StatusCode) -> bool {
        [&self.html, &self.json].iter().any(|pages| pages.find(status).is_some())
    }
}

impl PagesByStatus {
    /// The page for this status.
    pub(crate) fn find(&self, status: StatusCode) -> Option<&Page> {
        let code = status.as_u16();
        self.exact.get(&code).or_else(|| self.classes.get(&(code / 100)))
    }
}

impl Page {
    /// Of a text in which `{{status}}`, `{{reason}}`, `{{error}}`, `{{message}}` and
    /// `{{request.id}}` are filled in; all else between braces is left, for it is a page's own.
    pub(crate) fn new(kind: PageFormat, text: &str) -> Self {
        const PLACES: [(&str, PagePiece); 5] = [
            ("{{status}}", PagePiece::Status),
            ("{{reason}}", PagePiece::Reason),
            ("{{error}}", PagePiece::Error),
            ("{{message}}", PagePiece::Message),
            ("{{request.id}}", PagePiece::RequestId),
        ];
        let mut pieces = Vec::new();
        let mut rest = text;
        let next = |rest: &str| {
            let found = PLACES.iter().filter_map(|(name, piece)| {
                rest.find(name).map(|at| (at, name.len(), piece.clone()))
            });
            found.min_by_key(|(at, _, _)| *at)
        };
        while let Some((at, length, piece)) = next(rest) {
            let (before, from) = rest.split_at(at);
            pieces.push(PagePiece::Text(before.to_owned()));
            pieces.push(piece);
            rest = from.get(length..).unwrap_or_default();
        }
        pieces.push(PagePiece::Text(rest.to_owned()));
        Self { kind, pieces }
    }

    /// The page for one error.
    pub(crate) fn render(&self, known: PageValues<'_>) -> String {
        let mut page = String::with_capacity(1024);
        let push = match self.kind {
            PageFormat::Html => push_html,
            PageFormat::Json => push_json_escaped,
        };
        for piece in &self.pieces {
            match piece {
                PagePiece::Text(text) => page.push_str(text),
                // Writing into a string can't fail.
                PagePiece::Status => drop(write!(page, "{}", known.status.as_u16())),
                PagePiece::Reason => {
                    page.push_str(known.status.canonical_reason().unwrap_or("Error"))
                }
                PagePiece::Error => push(&mut page, known.error),
                PagePiece::Message => push(&mut page, known.message),
                PagePiece::RequestId => push(&mut page, known.request_id),
            }
        }
        page
    }
}

/// A message may repeat what a request said.
fn push_html(html: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

/// Appends text, escaped for the inside of a JSON string (RFC 8259, section 7).
fn push_json_escaped(json: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            c if c.is_control() => drop(write!(json, "\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(code: u16, message: &str) -> PageValues<'_> {
        let status = StatusCode::from_u16(code).expect("a status");
        PageValues { status, error: "its_name", message, request_id: "id-1" }
    }

    #[test]
    fn known_placeholders_are_filled_in_and_escaped() {
        let page = Page::new(
            PageFormat::Html,
            "<p {x}>{{status}} {{reason}}: {{message}} ({{request.id}}) {{other}}",
        );
        assert_eq!(
            page.render(known(502, "<script>'&\"")),
            "<p {x}>502 Bad Gateway: &lt;script&gt;&#39;&amp;&quot; (id-1) {{other}}"
        );
        assert_eq!(Page::new(PageFormat::Html, "").render(known(404, "m")), "");
    }

    #[test]
    fn rfc8259_7_placeholder_value_stays_inside_its_json_string() {
        let page =
            Page::new(PageFormat::Json, r#"{"code":{{status}},"n":"{{error}}","m":"{{message}}"}"#);
        for message in ["plain", "\"", "\\", "\\\",\"x\":\"", "\n\r\t\0\u{7f}", "\u{2028}ß🦀"] {
            let json: serde_json::Value =
                serde_json::from_str(&page.render(known(400, message))).expect("JSON");
            assert_eq!(json, serde_json::json!({"code": 400, "n": "its_name", "m": message}));
        }
    }

    #[test]
    fn page_of_a_status_precedes_the_page_of_its_class() {
        let pages = PagesByStatus {
            exact: [(404, Page::new(PageFormat::Html, "exact"))].into(),
            classes: [(4, Page::new(PageFormat::Html, "class"))].into(),
        };
        let find = |code| {
            let known = known(code, "");
            pages.find(known.status).map(|page| page.render(known))
        };
        assert_eq!(find(404).as_deref(), Some("exact"));
        assert_eq!(find(403).as_deref(), Some("class"));
        assert_eq!(find(500), None);
    }
}
