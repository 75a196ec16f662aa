//! The head of an answer, whichever HTTP brought it.
//! It knows nothing of connections.

/// The head of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The status.
    pub status: u16,
    /// Name and value of each header, as they came.
    pub fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// One that came over HTTP/2.
    pub(crate) fn of_http2(head: &http::response::Parts) -> Self {
        let fields = head.headers.iter();
        let fields = fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Self { status: head.status.as_u16(), fields: fields.collect() }
    }

    /// The values of a field.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// The first value of a field, trimmed, if it is text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().and_then(|value| std::str::from_utf8(value).ok()).map(str::trim)
    }

    /// Whether a list holds this word.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .any(|word| word.trim().eq_ignore_ascii_case(token))
    }

    /// Whether no body follows, whatever the fields say.
    pub(crate) fn is_bodiless(&self) -> bool {
        matches!(self.status, 101 | 204 | 304) || self.get("content-length") == Some("0")
    }
}
