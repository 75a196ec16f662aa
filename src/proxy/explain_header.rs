//! `X-Tidegate-Explain`: explains a request in its response, to clients with the admin token. Decides nothing about
//! the request.

use super::Context;
use crate::admission::Rejection;
use crate::explain::{AdmissionOutcome, Decision, Explanation, SubstituteReply};
use crate::filter::Reply;
use crate::snapshot::Snapshot;
use http::header::HeaderValue;
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tidegate_http::header_name::X_TIDEGATE_EXPLAIN;

/// Maximum length of the header: proxies and clients refuse much longer ones.
const MAX_EXPLAIN_HEADER_BYTES: usize = 4096;

/// A request whose response carries its explanation.
pub(super) struct ExplainedRequest {
    /// The configuration that decides about it.
    snapshot: Arc<Snapshot>,
    /// Its head, as it arrived.
    head: RequestHeader,
    explanation: Option<Explanation>,
}

/// Checks the token in the header and removes it.
pub(super) fn check_and_remove_admin_token(
    snapshot: &Arc<Snapshot>,
    session: &mut Session,
    ctx: &mut Context,
) {
    let Some(shown) = session.req_header_mut().remove_header(&X_TIDEGATE_EXPLAIN) else { return };
    let is_admin = snapshot
        .admin_token
        .as_ref()
        .is_some_and(|token| bool::from(shown.as_bytes().ct_eq(token.as_bytes())));
    if is_admin {
        ctx.explanation = Some(Box::new(ExplainedRequest {
            snapshot: Arc::clone(snapshot),
            head: session.req_header().clone(),
            explanation: None,
        }));
    }
}

/// Records the explanation, as far as it is known before the request goes to an upstream.
pub(super) fn record(
    session: &Session,
    ctx: &mut Context,
    is_admitted: bool,
    rejection: Option<&Rejection>,
) {
    let Some(mut explaining) = ctx.explanation.take() else { return };
    let outcome = AdmissionOutcome {
        route: &ctx.route,
        pool: ctx.pool(),
        exchange: &ctx.exchange,
        head: session.req_header(),
        is_admitted,
        rejection,
    };
    explaining.explanation = Some(outcome.describe(&explaining.snapshot, &explaining.head));
    ctx.explanation = Some(explaining);
}

impl ExplainedRequest {
    /// Records that the upstream has failed, and what the client gets.
    pub(super) fn failed(&mut self, reply: &Reply) {
        if let Some(explanation) = &mut self.explanation {
            let reason = reply.reason().unwrap_or_default().to_owned();
            explanation.substitute_reply =
                Some(SubstituteReply { status: reply.status.as_u16(), reason });
        }
    }

    /// Writes the header.
    pub(super) fn write(&self, response: &mut ResponseHeader) -> Result<()> {
        let Some(explanation) = &self.explanation else { return Ok(()) };
        let mut explanation = explanation.clone();
        explanation.add_response(&self.head, response);
        // A long explanation leaves out the other candidates first, then filters and settings.
        let mut json = serde_json::to_string(&explanation).unwrap_or_default();
        if json.len() > MAX_EXPLAIN_HEADER_BYTES {
            explanation.others.clear();
            json = serde_json::to_string(&explanation).unwrap_or_default();
        }
        if json.len() > MAX_EXPLAIN_HEADER_BYTES {
            explanation.filters.clear();
            if let Decision::Forwarded(way) = &mut explanation.decision {
                way.settings.clear();
            }
            json = serde_json::to_string(&explanation).unwrap_or_default();
        }
        match HeaderValue::try_from(ascii(&json)) {
            Ok(value) if value.len() <= MAX_EXPLAIN_HEADER_BYTES => {
                response.insert_header(X_TIDEGATE_EXPLAIN, value)
            }
            _ => Ok(()),
        }
    }
}

/// JSON in visible ASCII (RFC 8259, section 7).
fn ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            ' '..='~' => ascii.push(c),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    ascii.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::ascii;

    #[test]
    fn explain_header_is_ascii_and_decodes_to_the_same_json() {
        let value = serde_json::json!({"route": "münze 🪙\n"});
        let header = ascii(&value.to_string());
        assert!(header.is_ascii(), "{header}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&header).expect("JSON"), value);
    }
}
