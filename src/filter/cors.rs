//! The filter that applies a CORS policy (Fetch standard). It knows nothing of routes.

use super::{Error, Filter, Flow, Reply, Request, Response};
use async_trait::async_trait;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use tidegate_http::control::is_control;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::header_name::{
    ACCESS_CONTROL_ALLOW_PRIVATE_NETWORK, ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK, CORS_PREFIX,
    spelled,
};
use tidegate_http::origin::{Origin, OriginPattern};
use tidegate_http::stable_hash;

/// Which other origins' pages may read the responses.
#[derive(Debug, Clone)]
pub struct CorsPolicy {
    /// The origins.
    pub origins: Vec<OriginPattern>,
    /// Methods that a preflight may ask for.
    pub methods: Vec<Method>,
    /// Header fields that a preflight may ask for; `None` for any.
    pub headers: Option<Vec<HeaderName>>,
    /// Response header fields that scripts may read.
    pub expose: Vec<HeaderName>,
    /// Whether cookies and `Authorization` may be sent along.
    pub credentials: bool,
    /// How many seconds a browser may keep a preflight's answer.
    pub max_age: u64,
    /// Whether pages of public sites may reach a private network.
    pub private_network: bool,
}

stable_hash!(CorsPolicy {
    origins,
    methods,
    headers,
    expose,
    credentials,
    max_age,
    private_network,
});

/// Cross-origin resource sharing by the Fetch standard.
#[derive(Debug)]
pub struct CorsFilter {
    policy: CorsPolicy,
    any_origin: bool,
    /// The exact ones as browsers write them, which is how most come.
    written: Vec<String>,
    allow_methods: HeaderValue,
    expose: Option<HeaderValue>,
    max_age: HeaderValue,
}

stable_hash!(CorsFilter { policy } without { any_origin, written, allow_methods, expose, max_age });

impl CorsFilter {
    /// A filter for this policy.
    pub fn new(policy: CorsPolicy) -> Self {
        let list = |items: Vec<&str>| {
            // Methods and field names are tokens, which every header value may hold.
            HeaderValue::from_str(&items.join(", ")).unwrap_or(HeaderValue::from_static(""))
        };
        Self {
            any_origin: policy.origins.contains(&OriginPattern::Any),
            written: policy.origins.iter().filter_map(OriginPattern::exact_origin).collect(),
            allow_methods: list(policy.methods.iter().map(Method::as_str).collect()),
            expose: (!policy.expose.is_empty())
                .then(|| list(policy.expose.iter().map(HeaderName::as_str).collect())),
            max_age: HeaderValue::from(policy.max_age),
            policy,
        }
    }

    /// The origins that are let in.
    pub(crate) fn origins(&self) -> &[OriginPattern] {
        &self.policy.origins
    }

    /// Whether pages of this origin are let in.
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        if self.any_origin {
            // Whatever apps and devices send there.
            return true;
        }
        let Ok(origin) = origin.to_str() else { return false };
        self.written.iter().any(|written| written == origin)
            || Origin::parse(origin).is_some_and(|origin| {
                self.policy.origins.iter().any(|pattern| pattern.matches(&origin))
            })
    }

    /// Lets a page of this origin read a response that says nothing of that yet.
    fn allow_origin(&self, head: &mut ResponseHeader, origin: &HeaderValue) -> Result<(), Error> {
        let admitted =
            if self.varies_by_origin() { origin.clone() } else { HeaderValue::from_static("*") };
        head.append_header(spelled::ACCESS_CONTROL_ALLOW_ORIGIN, admitted)?;
        if self.policy.credentials {
            head.append_header(
                spelled::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            )?;
        }
        Ok(())
    }

    /// Whether the response depends on the origin of the request.
    fn varies_by_origin(&self) -> bool {
        !self.any_origin || self.policy.credentials
    }

    /// The answer to a preflight (Fetch, "CORS-preflight request").
    fn answer_preflight(&self, request: &Request<'_>, origin: &HeaderValue) -> Reply {
        let headers = &request.head().headers;
        let refuse = |code, message: String| {
            let reply = Reply::gateway_error(code, message);
            reply.header(header::VARY, HeaderValue::from_static(PREFLIGHT_VARY))
        };
        if !self.allows(origin) {
            return refuse(ErrorCode::OriginNotAllowed, not_allowed(origin, "cors.allow_origins"));
        }
        let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !method.is_some_and(|method| self.takes_method(method)) {
            return refuse(
                ErrorCode::MethodNotAllowedByCors,
                "the CORS policy does not allow this method; see cors.allow_methods".to_owned(),
            );
        }
        let asked: Vec<&HeaderValue> =
            headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().collect();
        if !asked.iter().all(|names| self.takes_headers(names)) {
            return refuse(
                ErrorCode::HeaderNotAllowedByCors,
                "the CORS policy does not allow these headers; see cors.allow_headers".to_owned(),
            );
        }
        let mut reply = Reply::new(StatusCode::NO_CONTENT)
            .header(header::ACCESS_CONTROL_ALLOW_METHODS, self.allow_methods.clone())
            .header(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone())
            .header(header::VARY, HeaderValue::from_static(PREFLIGHT_VARY));
        // Naming just those that were asked for, for `*` does not count with credentials.
        for names in asked {
            reply = reply.header(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        let asks_private =
            headers.get(ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK).is_some_and(|v| v == "true");
        if self.policy.private_network && asks_private {
            reply = reply
                .header(ACCESS_CONTROL_ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        reply
    }

    fn takes_method(&self, asked: &HeaderValue) -> bool {
        // Fetch, "CORS-safelisted method": these need nobody's leave.
        [&b"GET"[..], b"HEAD", b"POST"].contains(&asked.as_bytes())
            || self.policy.methods.iter().any(|method| method.as_str().as_bytes() == asked)
    }

    fn takes_headers(&self, asked: &HeaderValue) -> bool {
        let Ok(asked) = asked.to_str() else { return false };
        let mut names = asked.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.all(|name| match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => self.policy.headers.as_ref().is_none_or(|listed| listed.contains(&name)),
            Err(_) => false,
        })
    }
}

/// The headers of a response to a cross-origin request.
static CORS_RESPONSE_HEADERS: [HeaderName; 7] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_ALLOW_PRIVATE_NETWORK,
];

const PREFLIGHT_VARY: &str =
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// Whether the request asks for leave to send another one (Fetch, "CORS-preflight request").
pub(crate) fn is_preflight(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(header::ORIGIN)
        && request.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Refuses the handshake of a page of this origin; `key` of the configuration decides it.
pub(crate) fn refuse_origin(origin: &HeaderValue, key: &str) -> Reply {
    Reply::gateway_error(ErrorCode::OriginNotAllowed, not_allowed(origin, key))
}

fn not_allowed(origin: &HeaderValue, key: &str) -> String {
    let origin = String::from_utf8_lossy(origin.as_bytes());
    let shown: String = origin.chars().filter(|c| !is_control(*c)).take(200).collect();
    format!("the origin `{shown}` is not allowed; see {key}")
}

#[async_trait]
impl Filter for CorsFilter {
    fn describe(&self) -> String {
        let policy = &self.policy;
        let list = |items: Vec<String>| items.join(" ");
        let origins = list(policy.origins.iter().map(OriginPattern::display).collect());
        let methods = list(policy.methods.iter().map(ToString::to_string).collect());
        let headers = policy.headers.as_ref().map_or("any".to_owned(), |headers| {
            list(headers.iter().map(ToString::to_string).collect())
        });
        let mut text = format!("CORS: origins {origins}; methods {methods}; headers {headers}");
        if !policy.expose.is_empty() {
            text += "; exposes ";
            text += &list(policy.expose.iter().map(ToString::to_string).collect());
        }
        if policy.credentials {
            text += "; with credentials";
        }
        if policy.private_network {
            text += "; private network";
        }
        text + &format!("; max_age {}s", policy.max_age)
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        let Some(origin) = request.head().headers.get(header::ORIGIN) else {
            return Ok(Flow::Continue);
        };
        if is_preflight(request.head()) {
            return Ok(Flow::Respond(self.answer_preflight(request, origin)));
        }
        Ok(Flow::Continue)
    }

    async fn on_response(&self, response: &mut Response<'_>) -> Result<(), Error> {
        if response.head.status == StatusCode::SWITCHING_PROTOCOLS {
            // Browsers don't apply CORS to WebSockets; the origin of handshakes is checked for itself.
            return Ok(());
        }
        let is_preflight = is_preflight(response.request());
        let head = &mut *response.head;
        if !is_preflight {
            // The gateway speaks for the upstream here; two voices would be one too many.
            // One look over the names costs less than a look-up for each.
            let is_answer = |name: &HeaderName| name.as_str().starts_with(CORS_PREFIX);
            if head.headers.keys().any(is_answer) {
                for name in &CORS_RESPONSE_HEADERS {
                    head.remove_header(name);
                }
            }
            if self.varies_by_origin() && !varies_by_origin(&head.headers) {
                // Caches must not give one origin's answer to another.
                head.append_header(spelled::VARY, HeaderValue::from_static(spelled::ORIGIN))?;
            }
        }
        let Some(origin) = response.request.headers.get(header::ORIGIN) else { return Ok(()) };
        if !self.allows(origin) {
            return Ok(());
        }
        if is_preflight {
            // A filter of somebody else's may have answered it.
            head.remove_header(&header::ACCESS_CONTROL_ALLOW_ORIGIN);
            head.remove_header(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        }
        self.allow_origin(head, origin)?;
        if let (Some(expose), false) = (&self.expose, is_preflight) {
            head.append_header(spelled::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone())?;
        }
        Ok(())
    }
}

fn varies_by_origin(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case(spelled::ORIGIN))
}
