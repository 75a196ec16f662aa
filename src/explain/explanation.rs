//! The explanation of a request: data and text. It knows nothing of how the decision was made.

use super::settings::OFF;
use super::{RequestToExplain, cors};
use crate::admission::Rejection;
use bytesize::ByteSize;
use http::Method;
use pingora::http::{RequestHeader, ResponseHeader};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use tidegate_config::ExpandedValues;
use tidegate_http::secret::without_secrets_of_urls;

/// What would become of a request, and why.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The method.
    pub method: String,
    /// Host and port.
    pub host: String,
    /// The client's address, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// The path, normalised.
    pub path: String,
    /// What becomes of it.
    #[serde(flatten)]
    pub decision: Decision,
    /// The conditions of the route that takes it; all are met.
    pub because: Vec<String>,
    /// What is on its way, in the order in which it sees requests.
    pub filters: Vec<String>,
    /// The filters that see the body of a request that is forwarded, or of its response, in the order in which they see
    /// it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bodies: Vec<BodyReader>,
    /// The routes that came closest beside it.
    pub others: Vec<Candidate>,
    /// `allowed` or `refused`, for a request with an `Origin`; `upstream` where it is left to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<String>,
    /// What the client has got in the place of the upstream's answer, which did not come.
    #[serde(rename = "instead", skip_serializing_if = "Option::is_none")]
    pub substitute_reply: Option<SubstituteReply>,
}

/// A filter that sees a body.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct BodyReader {
    /// Whose body it sees: `request` or `response`.
    pub body: &'static str,
    /// How: `observe`, `chunks` or `whole`.
    pub access: &'static str,
    /// The most bytes of a body that it sees whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// The filter, as it is in [`Explanation::filters`].
    pub filter: String,
}

/// What a client gets when an upstream fails.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SubstituteReply {
    /// The status of the answer.
    pub status: u16,
    /// Why.
    pub reason: String,
}

/// What becomes of a request.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// It goes to an upstream.
    Forwarded(Box<ForwardPlan>),
    /// The gateway answers it.
    Answered {
        /// The route, empty for none.
        route: String,
        /// The status of the answer.
        status: u16,
        /// What it says, of an error.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Where to, of a redirect.
        #[serde(skip_serializing_if = "Option::is_none")]
        location: Option<String>,
    },
    /// It is sent to HTTPS.
    Redirected {
        /// Where to.
        location: String,
    },
    /// No route takes it: 404.
    NoRoute,
    /// Routes take it by other methods only: 405.
    MethodNotAllowed {
        /// These.
        allowed: Vec<String>,
    },
    /// It is malformed, or more than the gateway takes.
    Refused {
        /// The route, empty for none.
        route: String,
        /// The status of the answer.
        status: u16,
        /// Why.
        reason: String,
    },
}

/// The way of a request that is forwarded.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ForwardPlan {
    /// The route.
    pub route: String,
    /// The upstream.
    pub upstream: String,
    /// How its endpoints are spoken to: `http` or `https`.
    pub scheme: String,
    /// Path and query that the upstream sees.
    pub target: String,
    /// Its endpoints.
    pub endpoints: Vec<String>,
    /// The `Host` that it sees.
    pub host: String,
    /// `timeouts.connect`.
    pub connect_timeout_ms: u64,
    /// `timeouts.tls`, where the upstream speaks TLS.
    pub tls_timeout_ms: Option<u64>,
    /// `timeouts.first_byte`.
    pub first_byte_timeout_ms: Option<u64>,
    /// `timeouts.read`.
    pub read_timeout_ms: u64,
    /// `timeouts.write`.
    pub write_timeout_ms: u64,
    /// `timeouts.request`.
    pub request_timeout_ms: Option<u64>,
    /// How often it may be tried again.
    pub retries: u32,
    /// Whether it may be answered by the cache.
    pub is_cached: bool,
    /// Whether WebSockets pass.
    pub takes_websocket: bool,
    /// Upstreams that some go to instead, and which.
    pub splits: Vec<String>,
    /// How the route and the upstream are set beyond that, by the names that it has in the file.
    pub settings: BTreeMap<&'static str, String>,
}

/// A route that does not take the request.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Candidate {
    /// Its name.
    pub route: String,
    /// Why not.
    pub ruled_out_by: Vec<String>,
}

impl Explanation {
    /// Of a request that no route is looked for, whose head can't be read.
    pub(super) fn malformed(asked: &RequestToExplain, rejection: &Rejection) -> Self {
        let decision = Decision::Refused {
            route: String::new(),
            status: rejection.reply.status.as_u16(),
            reason: rejection.reply.reason().unwrap_or_default().to_owned(),
        };
        let RequestToExplain { method, authority, path, client, .. } = asked;
        Self { decision, ..Self::without_route(method, authority, path, *client) }
    }

    pub(super) fn without_route(
        method: &Method,
        host: &str,
        path: &str,
        client: Option<IpAddr>,
    ) -> Self {
        Self {
            method: method.to_string(),
            host: host.to_owned(),
            client,
            path: path.to_owned(),
            decision: Decision::NoRoute,
            because: Vec::new(),
            filters: Vec::new(),
            bodies: Vec::new(),
            others: Vec::new(),
            cors: None,
            substitute_reply: None,
        }
    }

    /// Takes away what came out of variables, but for names and addresses.
    pub(super) fn hide(&mut self, expanded: &ExpandedValues) {
        let hide = |text: &mut String| *text = expanded.hide(&without_secrets_of_urls(text));
        self.because.iter_mut().for_each(hide);
        self.filters.iter_mut().for_each(hide);
        self.bodies.iter_mut().map(|it| &mut it.filter).for_each(hide);
        self.others.iter_mut().flat_map(|it| &mut it.ruled_out_by).for_each(hide);
        match &mut self.decision {
            Decision::Forwarded(way) => {
                hide(&mut way.host);
                way.splits.iter_mut().for_each(hide);
                way.settings.values_mut().for_each(hide);
            }
            Decision::Answered { reason, location, .. } => {
                reason.iter_mut().chain(location).for_each(hide);
            }
            Decision::Redirected { location } => hide(location),
            Decision::Refused { reason, .. } => hide(reason),
            Decision::NoRoute | Decision::MethodNotAllowed { .. } => {}
        }
    }

    /// Fills in what the response says, once there is one; a handshake has been judged before.
    pub(crate) fn add_response(&mut self, request: &RequestHeader, response: &ResponseHeader) {
        if self.cors.is_none() {
            self.cors = cors::response_verdict(request, response);
        }
    }

    /// The name of the route that takes it, if one does.
    pub fn route(&self) -> Option<&str> {
        match &self.decision {
            Decision::Forwarded(way) => Some(&way.route),
            Decision::Answered { route, .. } | Decision::Refused { route, .. }
                if !route.is_empty() =>
            {
                Some(route)
            }
            _ => None,
        }
    }

    /// The status of the gateway's own answer, if it answers.
    pub fn status(&self) -> Option<u16> {
        match &self.decision {
            Decision::Forwarded(_) => None,
            Decision::Answered { status, .. } | Decision::Refused { status, .. } => Some(*status),
            Decision::Redirected { .. } => Some(308),
            Decision::NoRoute => Some(404),
            Decision::MethodNotAllowed { .. } => Some(405),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.method, self.path, self.host)?;
        match self.client {
            Some(client) => writeln!(f, " from {client}")?,
            None => writeln!(f)?,
        }
        match &self.decision {
            Decision::Forwarded(way) => way.fmt(f)?,
            Decision::Answered { route, status, reason, location } => {
                if !route.is_empty() {
                    writeln!(f, "route     {route}")?;
                }
                let no_route = if route.is_empty() { "; no route matches" } else { "" };
                let to = location.iter().map(|location| format!(", to {location}"));
                let why = reason.iter().map(|reason| format!(": {reason}"));
                let more: String = to.chain(why).collect();
                writeln!(f, "answer    {status}, by the gateway{no_route}{more}")?;
            }
            Decision::Redirected { location } => writeln!(f, "answer    308 to {location}")?,
            Decision::NoRoute => writeln!(f, "answer    404: no route matches")?,
            Decision::MethodNotAllowed { allowed } => {
                writeln!(f, "answer    405: the method must be {}", allowed.join(" or "))?;
            }
            Decision::Refused { route, status, reason } => {
                if !route.is_empty() {
                    writeln!(f, "route     {route}")?;
                }
                writeln!(f, "answer    {status}: {reason}")?;
            }
        }
        lines(f, "because", &self.because)?;
        lines(f, "filters", &self.filters)?;
        let bodies: Vec<String> = self.bodies.iter().map(ToString::to_string).collect();
        lines(f, "bodies", &bodies)?;
        if let Some(cors) = &self.cors {
            writeln!(f, "CORS      {cors}")?;
        }
        let width = self.others.iter().map(|it| it.route.len()).max().unwrap_or_default();
        let others = self.others.iter();
        let others: Vec<String> = others
            .map(|it| format!("{:width$}  {}", it.route, it.ruled_out_by.join("; ")))
            .collect();
        lines(f, "not", &others)
    }
}

impl fmt::Display for BodyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.body, self.access)?;
        if let Some(max) = self.max {
            write!(f, " up to {}", ByteSize(max))?;
        }
        write!(f, ": {}", self.filter)
    }
}

impl fmt::Display for ForwardPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "route     {}", self.route)?;
        writeln!(f, "upstream  {}, Host {}", self.upstream, self.host)?;
        let unix = |endpoint: &str| endpoint.starts_with("unix:");
        let urls: Vec<String> = self
            .endpoints
            .iter()
            .map(|endpoint| match unix(endpoint) {
                true => format!("{endpoint} {}", self.target),
                false => format!("{}://{endpoint}{}", self.scheme, self.target),
            })
            .collect();
        lines(f, "as", &urls)?;
        lines(f, "or to", &self.splits)?;
        let mut bounds = format!(
            "connect {}, read {}, write {}",
            seconds(self.connect_timeout_ms),
            seconds(self.read_timeout_ms),
            seconds(self.write_timeout_ms)
        );
        let further = [
            ("TLS", self.tls_timeout_ms),
            ("first byte", self.first_byte_timeout_ms),
            ("whole request", self.request_timeout_ms),
        ];
        for (what, time) in further.iter().filter_map(|(what, time)| Some((what, (*time)?))) {
            bounds += &format!(", {what} {}", seconds(time));
        }
        writeln!(f, "timeouts  {bounds}; {} retries", self.retries)?;
        let is_on = |how: &String| how != OFF;
        let on = self.settings.iter().filter(|(_, how)| is_on(how));
        let on: Vec<String> = on.map(|(what, how)| format!("{what}: {how}")).collect();
        lines(f, "with", &on)?;
        let off: Vec<&str> =
            self.settings.iter().filter(|(_, how)| !is_on(how)).map(|(what, _)| *what).collect();
        match off.is_empty() {
            true => Ok(()),
            false => writeln!(f, "without   {}", off.join(", ")),
        }
    }
}

fn seconds(millis: u64) -> String {
    humantime::format_duration(std::time::Duration::from_millis(millis)).to_string()
}

/// Lines under one heading.
fn lines(f: &mut fmt::Formatter<'_>, heading: &str, lines: &[String]) -> fmt::Result {
    for (number, line) in lines.iter().enumerate() {
        let heading = if number == 0 { heading } else { "" };
        writeln!(f, "{heading:8}  {line}")?;
    }
    Ok(())
}
