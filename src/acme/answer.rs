//! Reads the response of a certificate authority, within limits on size and time, and turns refusals into errors that
//! name the request. Knows nothing of what is asked.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Error as HttpError;
use instant_acme::{BytesResponse, Error};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// Maximum size of a response body, in bytes. A certificate chain takes a few KiB.
const MAX_RESPONSE_BODY_BYTES: usize = 1024 * 1024;

/// Maximum time from a request to the end of its response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Method and URL of a request, for messages.
pub(super) struct RequestLabel {
    method: Method,
    url: String,
}

impl RequestLabel {
    pub(super) fn from_request<B>(request: &Request<B>) -> Self {
        Self { method: request.method().clone(), url: request.uri().to_string() }
    }

    /// The answer, once it is there. `read` sees its head.
    pub(super) async fn read_response<B>(
        &self,
        answer: impl Future<Output = Result<Response<B>, HttpError>>,
        read: impl FnOnce(&mut Response<B>),
    ) -> Result<BytesResponse, Error>
    where
        B: BodyExt<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
    {
        let reading = async {
            let mut answer = answer.await.map_err(|error| Error::Other(Box::new(error)))?;
            read(&mut answer);
            let (head, body) = answer.into_parts();
            match Limited::new(body, MAX_RESPONSE_BODY_BYTES).collect().await {
                Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
                Err(error) if error.is::<LengthLimitError>() => {
                    Err(self.error("is larger than 1 MiB"))
                }
                Err(error) => Err(Error::Other(error)),
            }
        };
        match timeout(ANSWER_TIMEOUT, reading).await {
            Ok(answer) => self.check_status(answer?),
            Err(_) => {
                let seconds = ANSWER_TIMEOUT.as_secs();
                Err(self.error(&format!("did not arrive within {seconds}s")))
            }
        }
    }

    /// A refusal is a problem (RFC 8555, section 6.7) with its status, or an error that has it.
    fn check_status(&self, answer: Response<Bytes>) -> Result<BytesResponse, Error> {
        let (head, body) = answer.into_parts();
        let body = if head.status.is_success() {
            body
        } else {
            let is_refusal = head.status.is_client_error() || head.status.is_server_error();
            match serde_json::from_slice(&body) {
                Ok(Value::Object(mut problem)) if is_refusal && self.method == Method::POST => {
                    problem.insert("status".to_owned(), head.status.as_u16().into());
                    Bytes::from(Value::Object(problem).to_string())
                }
                Ok(problem) => {
                    let kind = problem.get("type").and_then(Value::as_str).unwrap_or_default();
                    let kind = kind.rsplit(':').next().unwrap_or_default();
                    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or_default();
                    return Err(self.error(&format!("is {} {kind}: {detail}", head.status)));
                }
                Err(_) => return Err(self.error(&format!("is {}", head.status))),
            }
        };
        Ok(BytesResponse::from(Response::from_parts(head, Full::new(body))))
    }

    fn error(&self, is: &str) -> Error {
        let Self { method, url } = self;
        Error::Other(
            format!("the response of the certificate authority to {method} {url} {is}").into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(method: Method, status: u16, body: &'static str) -> Result<BytesResponse, String> {
        let asked = RequestLabel { method, url: "https://a/dir".to_owned() };
        let answer = Response::builder().status(status).body(Bytes::from(body));
        asked.check_status(answer.expect("an answer")).map_err(|error| error.to_string())
    }

    fn refused(method: Method, status: u16, body: &'static str) -> String {
        match judged(method, status, body) {
            Ok(_) => panic!("{status} {body} passes"),
            Err(reason) => reason,
        }
    }

    #[tokio::test]
    async fn acme_error_names_the_request_and_its_status() {
        let problem = r#"{"type":"urn:ietf:params:acme:error:serverInternal","detail":"x"}"#;
        let got = refused(Method::GET, 500, problem);
        assert!(got.ends_with("GET https://a/dir is 500 Internal Server Error serverInternal: x"));
        assert!(refused(Method::GET, 302, "").ends_with("is 302 Found"));
        assert!(refused(Method::POST, 302, "{}").contains("is 302 Found"));
        assert!(refused(Method::POST, 502, "<html>").ends_with("is 502 Bad Gateway"));
        assert!(refused(Method::HEAD, 503, "").ends_with("is 503 Service Unavailable"));
        let Ok(mut passed) = judged(Method::POST, 403, problem) else { panic!("a problem") };
        let body = passed.body.into_bytes().await.expect("its body");
        let problem: instant_acme::Problem = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((problem.status, problem.detail.as_deref()), (Some(403), Some("x")));
        assert!(judged(Method::GET, 200, "{}").is_ok());
    }
    #[tokio::test(start_paused = true)]
    async fn acme_response_is_bounded_in_size_and_time() {
        use futures_util::stream;
        use http_body_util::StreamBody;
        use std::io;
        let asked = RequestLabel { method: Method::GET, url: "https://a/dir".to_owned() };
        let reason = |answer: Result<BytesResponse, Error>| match answer {
            Ok(_) => panic!("it has an end"),
            Err(error) => error.to_string(),
        };
        let piece =
            || Ok::<_, io::Error>(http_body::Frame::data(Bytes::from_static(&[b'x'; 65_536])));
        let endless = StreamBody::new(stream::repeat_with(piece));
        let answer = std::future::ready(Ok(Response::new(endless)));
        let got = reason(asked.read_response(answer, |_| {}).await);
        let expected = "the response of the certificate authority to GET https://a/dir \
                        is larger than 1 MiB";
        assert_eq!(got, expected);
        let silent = StreamBody::new(stream::pending::<io::Result<http_body::Frame<Bytes>>>());
        let answer = std::future::ready(Ok(Response::new(silent)));
        let got = reason(asked.read_response(answer, |_| {}).await);
        let expected = "the response of the certificate authority to GET https://a/dir \
                        did not arrive within 60s";
        assert_eq!(got, expected);
    }
}
