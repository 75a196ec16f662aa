//! Compiles changes of headers, and the literal values among them. It knows nothing of requests.

use super::Compiler;
use super::built_in::{BuiltIn, CompiledFilter, compiled, downcast};
use crate::filter::{FieldName, FieldValue, HeaderChanges, HeadersFilter};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use std::collections::BTreeMap;
use tidegate_config::{self as config, Spanned};
use tidegate_http::head::is_padded;
use tidegate_http::header_name::WEBSOCKET_PREFIX;
use tidegate_http::header_name::{HOP_BY_HOP, X_REQUEST_ID};

/// The direction of the message that a header belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageDirection {
    ToUpstream,
    ToClient,
}

pub(super) const FILTER: BuiltIn = BuiltIn {
    keys: &["headers"],
    for_all: |compiler| compiler.headers(&compiler.config.headers, None, "headers"),
    for_route: |compiler, route, inherited| {
        let inherited = inherited.as_deref().and_then(downcast);
        compiler.headers(&route.written.headers, inherited, &route.path_of("headers"))
    },
};

impl Compiler<'_> {
    /// The filter that changes header fields: a route's own changes over those that it inherits.
    fn headers(
        &mut self,
        written: &config::Headers,
        inherited: Option<&HeadersFilter>,
        key_path: &str,
    ) -> CompiledFilter {
        let request = self.changes(
            &written.request,
            MessageDirection::ToUpstream,
            &format!("{key_path}.request"),
        );
        let response = self.changes(
            &written.response,
            MessageDirection::ToClient,
            &format!("{key_path}.response"),
        );
        let none = HeadersFilter::default();
        let inherited = inherited.unwrap_or(&none);
        let filter = HeadersFilter {
            request: request.merged_with_defaults(&inherited.request),
            response: response.merged_with_defaults(&inherited.response),
        };
        compiled((!filter.is_empty()).then_some(filter))
    }

    fn changes(
        &mut self,
        written: &config::FieldChanges,
        direction: MessageDirection,
        key_path: &str,
    ) -> HeaderChanges {
        let mut remove = Vec::new();
        for (index, name) in written.remove.iter().enumerate() {
            let key_path = format!("{key_path}.remove[{index}]");
            let own = self.field_name(name.as_str(), name.span, direction, &key_path);
            remove.extend(own.map(|own| own.name));
        }
        HeaderChanges {
            remove,
            set: self.fields(&written.set, direction, &format!("{key_path}.set")),
            add: self.fields(&written.add, direction, &format!("{key_path}.add")),
        }
    }

    /// Headers with their values; invalid ones are reported and left out.
    pub(super) fn fields(
        &mut self,
        written: &BTreeMap<config::HeaderName, Spanned<config::Template>>,
        direction: MessageDirection,
        key_path: &str,
    ) -> Vec<(FieldName, FieldValue)> {
        let mut fields: Vec<(FieldName, FieldValue)> = Vec::new();
        for (name, value) in written {
            let key_path = format!("{key_path}.{}", name.as_str());
            let Some(name) = self.field_name(name.as_str(), value.span, direction, &key_path)
            else {
                continue;
            };
            if fields.iter().any(|(other, _)| other.name == name.name) {
                self.problems.add(value.span, key_path, "the same header is listed twice");
                continue;
            }
            // Its variables were checked when the file was read.
            let Ok(template) = value.as_str().parse() else { continue };
            match FieldValue::new(template) {
                Some(value) => fields.push((name, value)),
                None => {
                    let reason = "a header value must not contain line breaks or control \
                                  characters";
                    self.problems.add(value.span, key_path, reason);
                }
            }
        }
        fields
    }

    /// A value that a header of a request is compared with; none that no header has is let pass.
    pub(super) fn compared_value(
        &mut self,
        written: &str,
        span: config::Span,
        key_path: String,
    ) -> Option<HeaderValue> {
        let reason = match HeaderValue::from_bytes(written.as_bytes()) {
            Ok(value) if !is_padded(&value) => return Some(value),
            Ok(_) => {
                "no header value begins or ends with white space (RFC 9110, section 5.5), so \
                 this condition never matches"
            }
            Err(_) => {
                "no header value contains line breaks or control characters, so this condition \
                 never matches"
            }
        };
        self.problems.add(span, key_path, reason);
        None
    }

    fn field_name(
        &mut self,
        written: &str,
        span: config::Span,
        direction: MessageDirection,
        key_path: &str,
    ) -> Option<FieldName> {
        let name = HeaderName::from_bytes(written.as_bytes()).ok()?;
        match refusal(&name, direction) {
            None => Some(FieldName { name, spelling: Bytes::copy_from_slice(written.as_bytes()) }),
            Some(reason) => {
                self.problems.add(
                    span,
                    key_path,
                    format!("the header `{written}` cannot be changed: {reason}"),
                );
                None
            }
        }
    }
}

/// Why only the gateway may change this header.
fn refusal(name: &HeaderName, direction: MessageDirection) -> Option<&'static str> {
    if *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING {
        return Some("it defines where the body ends, and a wrong value allows request smuggling");
    }
    if HOP_BY_HOP.contains(name) {
        return Some("it applies to a single connection (hop-by-hop; RFC 9110, section 7.6.1)");
    }
    if name.as_str().starts_with(WEBSOCKET_PREFIX) {
        return Some("it belongs to the WebSocket handshake, which the gateway checks");
    }
    if *name == X_REQUEST_ID {
        return Some("the gateway sets it, so that client, upstream and log have the same id");
    }
    if *name == header::VIA && direction == MessageDirection::ToUpstream {
        return Some("the gateway uses it to detect forwarding loops (RFC 9110, section 7.6.3)");
    }
    (*name == header::HOST && direction == MessageDirection::ToUpstream)
        .then_some("use `rewrite.host`")
}
