//! Pages for errors, in the place of JSON, for people with browsers.

use http::StatusCode;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Pages by the status that they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPages {
    /// For one status.
    pub exact: BTreeMap<u16, Page>,
    /// For a class, by its first digit.
    pub classes: BTreeMap<u16, Page>,
    /// Whether errors of upstreams get them as well.
    pub intercepts: bool,
}

/// A page with places for what is known of the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Html(String),
    Status,
    Reason,
    Message,
    RequestId,
}

impl ErrorPages {
    /// The page for this status.
    pub fn find(&self, status: StatusCode) -> Option<&Page> {
        let code = status.as_u16();
        self.exact.get(&code).or_else(|| self.classes.get(&(code / 100)))
    }
}

impl Page {
    /// Of HTML in which `{{status}}`, `{{reason}}`, `{{message}}` and `{{request.id}}` are filled
    /// in; all else between braces is left, for it is a page's own.
    pub fn new(html: &str) -> Self {
        const PLACES: [(&str, Piece); 4] = [
            ("{{status}}", Piece::Status),
            ("{{reason}}", Piece::Reason),
            ("{{message}}", Piece::Message),
            ("{{request.id}}", Piece::RequestId),
        ];
        let mut pieces = Vec::new();
        let mut rest = html;
        let next = |rest: &str| {
            let found = PLACES.iter().filter_map(|(name, piece)| {
                rest.find(name).map(|at| (at, name.len(), piece.clone()))
            });
            found.min_by_key(|(at, _, _)| *at)
        };
        while let Some((at, length, piece)) = next(rest) {
            let (before, from) = rest.split_at(at);
            pieces.push(Piece::Html(before.to_owned()));
            pieces.push(piece);
            rest = from.get(length..).unwrap_or_default();
        }
        pieces.push(Piece::Html(rest.to_owned()));
        Self { pieces }
    }

    /// The page for one error.
    pub fn render(&self, status: StatusCode, message: &str, request_id: &str) -> String {
        let mut html = String::with_capacity(1024);
        for piece in &self.pieces {
            match piece {
                Piece::Html(text) => html.push_str(text),
                // Writing into a string can't fail.
                Piece::Status => drop(write!(html, "{}", status.as_u16())),
                Piece::Reason => html.push_str(status.canonical_reason().unwrap_or("Error")),
                Piece::Message => push_escaped(&mut html, message),
                Piece::RequestId => push_escaped(&mut html, request_id),
            }
        }
        html
    }
}

/// A message may repeat what a request said.
fn push_escaped(html: &mut String, text: &str) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_filled_in_and_harmless() {
        let page =
            Page::new("<p {x}>{{status}} {{reason}}: {{message}} ({{request.id}}) {{other}}");
        assert_eq!(
            page.render(StatusCode::BAD_GATEWAY, "<script>'&\"", "id-1"),
            "<p {x}>502 Bad Gateway: &lt;script&gt;&#39;&amp;&quot; (id-1) {{other}}"
        );
        assert_eq!(Page::new("").render(StatusCode::NOT_FOUND, "m", "i"), "");
    }

    #[test]
    fn a_status_of_its_own_goes_before_its_class() {
        let pages = ErrorPages {
            exact: [(404, Page::new("exact"))].into(),
            classes: [(4, Page::new("class"))].into(),
            intercepts: false,
        };
        let find = |code| {
            let status = StatusCode::from_u16(code).expect("a status");
            pages.find(status).map(|page| page.render(status, "", ""))
        };
        assert_eq!(find(404).as_deref(), Some("exact"));
        assert_eq!(find(403).as_deref(), Some("class"));
        assert_eq!(find(500), None);
    }
}
