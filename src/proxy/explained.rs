//! `X-Tidegate-Explain`: what becomes of a request and why, told in the response to who has the admin
//! endpoint's token.

use super::{Context, Proxy};
use crate::explain::{Asked, explain};
use http::header::{HeaderName, HeaderValue};
use pingora_proxy::Session;
use subtle::ConstantTimeEq;

pub(super) const X_TIDEGATE_EXPLAIN: HeaderName = HeaderName::from_static("x-tidegate-explain");

/// Proxies and clients refuse fields that are much longer.
const MAX: usize = 4096;

/// Looks whether the request asks for it. The token goes no further.
pub(super) async fn prepare(proxy: &Proxy, session: &mut Session, ctx: &mut Context) {
    if !session.req_header().headers.contains_key(X_TIDEGATE_EXPLAIN) {
        return;
    }
    let Some(shown) = session.req_header_mut().remove_header(&X_TIDEGATE_EXPLAIN) else { return };
    let generation = proxy.live.full();
    let is_admin = generation
        .admin_token
        .as_ref()
        .is_some_and(|token| bool::from(shown.as_bytes().ct_eq(token.as_bytes())));
    if !is_admin {
        return;
    }
    let asked = Asked::of(session.req_header(), ctx.exchange.scheme() == "https");
    let mut explanation = explain(&generation, &asked).await;
    // What is long is told without those who merely came close.
    let mut told = serde_json::to_string(&explanation).unwrap_or_default();
    if told.len() > MAX {
        explanation.others.clear();
        told = serde_json::to_string(&explanation).unwrap_or_default();
    }
    if told.len() <= MAX {
        ctx.explanation = HeaderValue::try_from(ascii(&told)).ok().map(Box::new);
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
    fn whatever_a_name_holds_the_field_is_ascii_and_the_same_json() {
        let value = serde_json::json!({"route": "münze 🪙\n"});
        let told = ascii(&value.to_string());
        assert!(told.is_ascii(), "{told}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&told).expect("JSON"), value);
    }
}
