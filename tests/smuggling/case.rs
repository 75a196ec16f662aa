//! A case of the corpus (the bytes of a client, and what must happen), and helpers to write cases. Knows no proxy.

/// The bytes of a client on one connection, and the demanded result.
pub(crate) struct Case {
    pub kind: &'static str,
    pub name: &'static str,
    /// The RFC and its section, such as `9112 6.3`.
    pub rfc: &'static str,
    pub bytes: Vec<u8>,
    pub verdict: Verdict,
    /// The client ends its side right after these bytes: they are no whole message.
    pub is_unfinished: bool,
    /// Why the gateway takes what both nginx and HAProxy refuse, or more of it than they do.
    pub excuse: Option<&'static str>,
    /// Fields (in lower case) that the upstream must not see.
    pub absent: Vec<&'static str>,
    /// Fields that it must see, with their values.
    pub present: Vec<(&'static str, &'static str)>,
    /// The body that the upstream must have read.
    pub body: Option<&'static str>,
}

/// The demanded result.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// Answered by a status of this range, or cut off; the upstream sees nothing of it.
    Refused(std::ops::RangeInclusive<u16>),
    /// The same, but found out in the midst of the body: the upstream may have seen the request
    /// begin, and must see the connection end before the request is whole.
    CutOff,
    /// The upstream sees just these targets, in this order, each framed beyond doubt.
    Forwarded(Vec<&'static str>),
}

/// The target of a valid case.
pub(crate) const TARGET: &str = "/case";

/// Bytes that must never reach the upstream as a separate request.
pub(crate) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// A case that must be rejected with a 4xx or 5xx, unless it says otherwise.
pub(crate) fn case(name: &'static str, rfc: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    Case {
        kind: "",
        name,
        rfc,
        bytes: bytes.as_ref().to_vec(),
        verdict: Verdict::Refused(400..=599),
        is_unfinished: false,
        excuse: None,
        absent: Vec::new(),
        present: Vec::new(),
        body: None,
    }
}

impl Case {
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.verdict = Verdict::Refused(status..=status);
        self
    }

    pub(crate) fn cut_off(mut self) -> Self {
        self.verdict = Verdict::CutOff;
        self
    }

    /// Passed on as one request.
    pub(crate) fn passes(self) -> Self {
        self.passes_as(&[TARGET])
    }

    /// Passed on as these requests.
    pub(crate) fn passes_as(mut self, targets: &[&'static str]) -> Self {
        self.verdict = Verdict::Forwarded(targets.to_vec());
        self
    }

    pub(crate) fn unfinished(mut self) -> Self {
        self.is_unfinished = true;
        self
    }

    pub(crate) fn excuse(mut self, why: &'static str) -> Self {
        self.excuse = Some(why);
        self
    }

    pub(crate) fn without(mut self, fields: &[&'static str]) -> Self {
        self.absent.extend(fields);
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.present.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: &'static str) -> Self {
        self.body = Some(body);
        self
    }
}

/// `POST /case`, with these fields (lines without their end) and this body.
pub(crate) fn post(fields: &str, body: &str) -> String {
    format!("POST {TARGET} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}")
}

/// `GET /case`, with these fields.
pub(crate) fn get(fields: &str) -> String {
    format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")
}

/// A chunked `POST /case`, with this body just as it goes over the wire.
pub(crate) fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked", body)
}

/// A request, and behind it one to smuggle.
pub(crate) fn and_smuggled(request: impl AsRef<str>) -> String {
    format!("{}{SMUGGLED}", request.as_ref())
}
