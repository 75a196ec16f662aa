//! What a filter fails with: what the client sees, and what the log says. It knows nothing of how an answer is sent.

use super::reply::Reply;
use http::StatusCode;
use std::error::Error as StdError;
use std::fmt;
use tidegate_http::error_code::ErrorCode;

type Source = Box<dyn StdError + Send + Sync>;

/// Why a filter fails. The client gets an answer, and the gateway's log the reason with all its sources.
///
/// Every error becomes one by `?`, and so does a text by `.into()`: the client then gets 500 and no reason. With
/// [`Error::status`] a filter chooses what the client gets.
///
/// ```
/// use tidegate::filter::Error;
/// use tidegate::http::StatusCode;
///
/// fn keys(answer: &str) -> Result<u32, Error> {
///     answer.trim().parse().map_err(|error: std::num::ParseIntError| {
///         Error::status(StatusCode::BAD_GATEWAY, "the key service does not answer").source(error)
///     })
/// }
///
/// let error = keys("oops").expect_err("it is no number");
/// assert_eq!(error.to_string(), "the key service does not answer: invalid digit found in string");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    /// What the client gets, unless it is the 500 of a fault.
    answer: Option<Answer>,
    source: Option<Source>,
}

struct Answer {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Error {
    /// The client gets this status, and this message, which is a sentence for people.
    pub fn status(status: StatusCode, message: impl Into<String>) -> Self {
        let code = ErrorCode::FilterFailed.as_str();
        let answer = Some(Answer { status, code, message: message.into() });
        Self(Box::new(Inner { answer, source: None }))
    }

    /// With this word for programs in the client's answer, instead of `filter_failed`. Without a status it has no
    /// effect.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        if let Some(answer) = &mut self.0.answer {
            answer.code = code;
        }
        self
    }

    /// With what has caused it, for the log. The client does not see it.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What the client gets; `None` for the 500 of a fault.
    pub(crate) fn reply(&self) -> Option<Reply> {
        let answer = self.0.answer.as_ref()?;
        Some(Reply::error(answer.status, answer.code, answer.message.as_str()))
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Error {
    fn from(source: E) -> Self {
        Self(Box::new(Inner { answer: None, source: Some(source.into()) }))
    }
}

impl fmt::Display for Error {
    /// The message, and all sources.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { answer, source } = &*self.0;
        let mut separator = "";
        if let Some(answer) = answer {
            f.write_str(&answer.message)?;
            separator = ": ";
        }
        let mut next: Option<&(dyn StdError + 'static)> =
            source.as_deref().map(|source| source as &(dyn StdError + 'static));
        let mut said = String::new();
        while let Some(source) = next {
            let text = source.to_string();
            // Many errors say what their sources say.
            if !said.ends_with(&text) {
                write!(f, "{separator}{text}")?;
                separator = ": ";
            }
            said = text;
            next = source.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0.answer.as_ref().map(|answer| answer.status);
        f.debug_struct("Error").field("status", &status).field("reason", &self.to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_becomes_one_without_a_status() {
        fn parse(text: &str) -> Result<u8, Error> {
            Ok(text.parse::<u8>()?)
        }
        let error = parse("300").unwrap_err();
        assert!(error.reply().is_none());
        assert_eq!(error.to_string(), "number too large to fit in target type");
        let error: Error = "a text".into();
        assert_eq!(error.to_string(), "a text");
    }

    #[test]
    fn client_sees_the_message_and_the_log_all_sources() {
        let io = std::io::Error::other("connection refused");
        let error = Error::status(StatusCode::BAD_GATEWAY, "the key service does not answer");
        let error = error.code("key_service").source(io);
        assert_eq!(error.to_string(), "the key service does not answer: connection refused");
        let reply = error.reply().unwrap();
        assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
        assert_eq!(reply.reason(), Some("the key service does not answer"));
    }
}
