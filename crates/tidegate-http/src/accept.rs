//! Which of JSON, plain text and HTML a client prefers (RFC 9110, section 12.5.1). It knows nothing of the responses
//! that exist in these types.

use http::{HeaderMap, header};

/// A media type of responses to people and programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`.
    Json,
    /// `text/plain`.
    Text,
    /// `text/html`.
    Html,
}

impl MediaType {
    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        }
    }
}

/// The media type of server-sent events (HTML standard), which have no end.
pub const EVENT_STREAM: &str = "text/event-stream";

/// The quality values that a request's `Accept` gives to each [`MediaType`]; 0 for a type that it does not name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accept {
    json: f32,
    text: f32,
    html: f32,
}

impl Accept {
    /// The quality values in a request with these headers.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, header};
    /// use tidegate_http::accept::{Accept, MediaType};
    ///
    /// let browser = HeaderValue::from_static("text/html, */*;q=0.8");
    /// let headers = HeaderMap::from_iter([(header::ACCEPT, browser)]);
    /// assert_eq!(Accept::from_headers(&headers).preferred(), MediaType::Html);
    /// ```
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut text = Quality::default();
        let mut json = Quality::default();
        let mut html = Quality::default();
        let fields = headers.get_all(header::ACCEPT).iter();
        for range in fields.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media_range = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts
                .find_map(|part| part.strip_prefix("q="))
                .and_then(|q| q.parse::<f32>().ok())
                .unwrap_or(1.0);
            match media_range.as_str() {
                "application/json" => json.offer(2, quality),
                "text/plain" => text.offer(2, quality),
                "application/*" => json.offer(1, quality),
                "text/html" => html.offer(2, quality),
                "text/*" => {
                    text.offer(1, quality);
                    html.offer(1, quality);
                }
                "*/*" => {
                    json.offer(0, quality);
                    text.offer(0, quality);
                    html.offer(0, quality);
                }
                _ => {}
            }
        }
        Self { json: json.quality, text: text.quality, html: html.quality }
    }

    /// The preferred type. JSON wins a tie; HTML wins a tie with plain text.
    pub fn preferred(self) -> MediaType {
        if self.html > self.json && self.html >= self.text {
            MediaType::Html
        } else {
            self.preferred_without_html()
        }
    }

    /// The preferred type where there is no HTML. JSON wins a tie.
    pub fn preferred_without_html(self) -> MediaType {
        if self.text > self.json { MediaType::Text } else { MediaType::Json }
    }
}

/// The quality of a media type, from the most specific range that names it.
#[derive(Default)]
struct Quality {
    quality: f32,
    specificity: u8,
}

impl Quality {
    fn offer(&mut self, specificity: u8, quality: f32) {
        if specificity >= self.specificity {
            *self = Self { quality, specificity };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn accept(value: &'static str) -> Accept {
        let value = HeaderValue::from_static(value);
        Accept::from_headers(&HeaderMap::from_iter([(header::ACCEPT, value)]))
    }

    #[test]
    fn rfc9110_12_5_1_text_is_sent_only_when_preferred() {
        assert_eq!(
            Accept::from_headers(&HeaderMap::new()).preferred_without_html(),
            MediaType::Json
        );
        for refused in ["*/*", "application/json", "text/plain;q=0.5, application/json"] {
            assert_eq!(accept(refused).preferred_without_html(), MediaType::Json, "{refused}");
        }
        for wanted in ["text/plain", "text/*, application/json;q=0.1", "text/plain, */*;q=0.1"] {
            assert_eq!(accept(wanted).preferred_without_html(), MediaType::Text, "{wanted}");
        }
    }

    #[test]
    fn rfc9110_12_5_1_html_is_sent_to_browsers() {
        for browser in ["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/*"]
        {
            assert_eq!(accept(browser).preferred(), MediaType::Html, "{browser}");
        }
        for other in ["", "*/*", "application/json", "text/plain", "text/html;q=0.5, */*"] {
            assert_ne!(accept(other).preferred(), MediaType::Html, "{other}");
        }
    }
}
