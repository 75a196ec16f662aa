//! A case of the corpus (what an upstream sends, and what must happen), and helpers to write cases. Knows no proxy.

/// The response of an upstream to one request, and the demanded result.
pub(crate) struct Case {
    pub kind: &'static str,
    pub name: &'static str,
    /// The RFC and its section, such as `9112 6.3`.
    pub rfc: &'static str,
    /// The client's request.
    pub request: Vec<u8>,
    /// The upstream's bytes.
    pub answer: Vec<u8>,
    /// The upstream closes its connection behind them.
    pub closes: bool,
    pub verdict: Verdict,
    /// Fields that the client must not see.
    pub absent: Vec<&'static str>,
    /// Fields that it must see, once, with their values.
    pub present: Vec<(&'static str, &'static str)>,
}

/// The demanded result.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// The client gets 502 and nothing of the answer.
    Refused,
    /// The answer breaks off: the client must see that it is not whole.
    CutOff,
    /// The client gets this status and body, framed beyond doubt.
    Passed(u16, &'static str),
}

/// A response that must be rejected, unless the case says otherwise; the upstream keeps the connection open after it.
pub(crate) fn case(name: &'static str, rfc: &'static str, answer: impl AsRef<[u8]>) -> Case {
    Case {
        kind: "",
        name,
        rfc,
        request: b"GET /case HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        answer: answer.as_ref().to_vec(),
        closes: false,
        verdict: Verdict::Refused,
        absent: Vec::new(),
        present: Vec::new(),
    }
}

impl Case {
    /// Passed on as 200 with this body.
    pub(crate) fn passes(self, body: &'static str) -> Self {
        self.passes_as(200, body)
    }

    pub(crate) fn passes_as(mut self, status: u16, body: &'static str) -> Self {
        self.verdict = Verdict::Passed(status, body);
        self
    }

    pub(crate) fn cut_off(mut self) -> Self {
        self.verdict = Verdict::CutOff;
        self
    }

    /// The upstream closes behind its answer.
    pub(crate) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The answer is one to HEAD.
    pub(crate) fn for_head(mut self) -> Self {
        self.request = b"HEAD /case HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        self
    }

    /// The client speaks HTTP/1.0.
    pub(crate) fn for_http10(mut self) -> Self {
        self.request = b"GET /case HTTP/1.0\r\nHost: a\r\n\r\n".to_vec();
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

    pub(crate) fn is_head(&self) -> bool {
        self.request.starts_with(b"HEAD")
    }
}

/// `200 OK` with these headers (lines without their end) and these bytes after the head.
pub(crate) fn ok(fields: &str, body: &str) -> String {
    head("HTTP/1.1 200 OK", fields, body)
}

/// The same with another status line.
pub(crate) fn head(line: &str, fields: &str, body: &str) -> String {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    format!("{line}\r\n{fields}\r\n{body}")
}

/// A chunked `200 OK`, with this body just as it goes over the wire.
pub(crate) fn chunked(body: &str) -> String {
    ok("Transfer-Encoding: chunked", body)
}

/// `hello` in one chunk.
pub(crate) const HELLO: &str = "5\r\nhello\r\n0\r\n\r\n";
