//! The URL of an upstream service in a program. It does not know the options beside it.

use super::text::{TextPiece, TextWithVariables};
use super::value::Value;
use crate::draft::{Endpoint, Text, Upstream};
use crate::note::{Notes, SourcePosition};

/// An upstream service.
pub(super) struct UpstreamTarget {
    pub upstream: Upstream,
    /// The prefix of each request's path; empty, or without a slash at its end.
    pub base: String,
    /// The host of a URL without a port, which becomes the `Host` header.
    pub host_header: Option<String>,
}

impl UpstreamTarget {
    /// Reads `http://host:port/path`, or `{host, port, protocol}`.
    pub(super) fn parse(
        value: &Value<'_>,
        position: &SourcePosition,
        notes: &mut Notes,
    ) -> Option<Self> {
        if let Value::Object(_) = value {
            let scheme = value.get("protocol").and_then(Value::plain).unwrap_or("http:".to_owned());
            let host = value.get("host").or(value.get("hostname"))?.text_with_variables()?;
            let url = TextWithVariables::plain(&format!("{scheme}//")).then(host);
            let port = value.get("port").and_then(Value::text_with_variables);
            return Self::parse_url(
                &port
                    .map_or(url.clone(), |port| url.then(TextWithVariables::plain(":")).then(port)),
                position,
                notes,
            );
        }
        Self::parse_url(&value.text_with_variables()?, position, notes)
    }

    fn parse_url(
        written: &TextWithVariables,
        position: &SourcePosition,
        notes: &mut Notes,
    ) -> Option<Self> {
        let variable = written.first_variable().map(str::to_owned);
        let url = match written.0.first() {
            // `process.env.URL || 'http://…'`: an endpoint is no URL.
            Some(TextPiece::Variable { name, default }) => {
                let Some(default) = default.as_ref().filter(|it| it.contains("://")) else {
                    return Some(Self::from_variable(name, position, notes));
                };
                let text = format!(
                    "`process.env.{name}` holds a URL, but an endpoint is `host:port`; the import uses \
                     `{default}` and ignores the variable"
                );
                notes.changed(position, text);
                TextWithVariables::plain(&written.by_default()?)
            }
            _ => written.clone(),
        };
        let schemes = [("http://", false), ("https://", true), ("ws://", false), ("wss://", true)];
        let (rest, tls) =
            schemes.iter().find_map(|(scheme, tls)| Some((url.strip_prefix(scheme)?, *tls)))?;
        let (authority, path) = rest.split_at(&['/', '?', '#']);
        let (path, query) = path.split_at(&['?', '#']);
        if !query.0.is_empty() {
            notes.left_out(
                position,
                "the query of the target URL: Tidegate sends the client's query instead",
            );
        }
        let has_port = authority.by_default().is_none_or(|it| {
            it.rsplit_once(']').map_or(it.as_str(), |(_, behind)| behind).contains(':')
        });
        let port = if tls { ":443" } else { ":80" };
        let address = match has_port {
            true => authority.text(),
            false => authority.text().then(&Text::literal(port)),
        };
        let name = match variable {
            Some(name) => upstream_name(&name),
            None => authority.as_plain().unwrap_or("service").to_owned(),
        };
        let mut upstream = named(name, address);
        upstream.tls = tls.then_some(None);
        let host = authority.as_plain().filter(|_| !has_port).map(str::to_owned);
        let base = path.by_default()?.trim_end_matches('/').to_owned();
        Some(Self { upstream, base, host_header: host })
    }

    /// A variable with an unknown value.
    fn from_variable(name: &str, position: &SourcePosition, notes: &mut Notes) -> Self {
        let text = format!("the variable `${{{name}}}` must be `host:port`, without `http://`");
        notes.changed(position, text);
        let upstream = named(upstream_name(name), Text::variable(name, ""));
        Self { upstream, base: String::new(), host_header: None }
    }
}

fn named(name: String, address: Text) -> Upstream {
    let endpoint = Endpoint { address, weight: 1, backup: false };
    Upstream { name, endpoints: vec![endpoint], ..Upstream::default() }
}

/// `USER_SERVICE_URL` is the user service.
fn upstream_name(variable: &str) -> String {
    let ends = ["_URL", "_URI", "_HOST", "_TARGET", "_ADDRESS", "_ADDR", "_PORT"];
    let stem = ends.iter().find_map(|end| variable.strip_suffix(end)).unwrap_or(variable);
    stem.to_ascii_lowercase().replace('_', "-")
}
