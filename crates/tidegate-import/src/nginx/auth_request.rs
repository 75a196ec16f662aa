//! `auth_request` as forward authentication: the location that it asks becomes the service. It does not know how routes are
//! matched.

use super::access::ServerScope;
use super::auth_request_set::{taken_header, uses_variable};
use super::proxy::ProxyPass;
use super::scope::BlockScope;
use super::tree::Directive;
use super::{Importer, values};
use crate::draft::Scheme;

/// nginx's default of `proxy_read_timeout`.
const DEFAULT_TIMEOUT: &str = "60s";

/// Headers of the question that the gateway sets itself, with the variables that have the same value, or any.
const KNOWN_HEADERS: [(&str, &[&str]); 13] = [
    ("authorization", &["$http_authorization"]),
    ("connection", &["", "close"]),
    ("content-length", &[""]),
    ("content-type", &[""]),
    ("cookie", &["$http_cookie"]),
    ("host", &[]),
    ("x-forwarded-for", &["$remote_addr", "$proxy_add_x_forwarded_for"]),
    ("x-forwarded-host", &["$host", "$http_host"]),
    ("x-forwarded-method", &["$request_method"]),
    ("x-forwarded-proto", &["$scheme"]),
    ("x-forwarded-uri", &["$request_uri"]),
    ("x-original-method", &["$request_method"]),
    ("x-original-uri", &["$request_uri"]),
];

impl Importer<'_> {
    /// The scheme of `auth_request`, or why it has none.
    pub(super) fn auth_request(
        &mut self,
        asks: &Directive,
        scope: &BlockScope<'_>,
        server: &ServerScope<'_, '_>,
    ) -> Result<String, String> {
        let uri = asks.argument(0).unwrap_or_default();
        let location = location_of(server.directive, uri)
            .ok_or_else(|| format!("no `location = {uri}` in this server"))?;
        let inner = server.scope.inherit(location.block.as_deref().unwrap_or_default());
        let url = self.service_url(uri, &inner)?;
        review_headers(&inner)?;
        let mut take = Vec::new();
        for directive in scope.all("proxy_set_header") {
            let (name, value) = (directive.argument(0), directive.argument(1).unwrap_or_default());
            let name = name.unwrap_or_default().to_ascii_lowercase();
            match taken_header(scope, value) {
                Some(header) if header == name && !take.contains(&header) => take.push(header),
                Some(header) if header == name => {}
                Some(header) => {
                    return Err(format!("the upstream gets the service's `{header}` as `{name}`"));
                }
                None if uses_variable(scope, value) => {
                    return Err(format!("`{name}` is made of a variable of `auth_request_set`"));
                }
                None => {}
            }
        }
        let timeout = inner.value("proxy_read_timeout").and_then(values::translate_duration);
        let timeout = timeout.unwrap_or_else(|| DEFAULT_TIMEOUT.to_owned());
        let text = format!(
            "`{}`: the service at `{url}` gets the headers `authorization` and `cookie`, where nginx sends all \
             (see `send`); each of its responses other than 2xx goes to the client whole, where nginx sends \
             401, 403 or 500",
            asks.display()
        );
        self.notes.changed(&asks.position, text);
        Ok(self.draft.scheme(Scheme::Forward { url, send: None, take, timeout, ca: None }))
    }

    fn service_url(&mut self, uri: &str, inner: &BlockScope<'_>) -> Result<String, String> {
        let own = |name: &str| inner.own_directives().iter().find(|it| it.name == name);
        let guards =
            ["allow", "deny", "auth_basic", "auth_request", "auth_jwt", "if", "return", "rewrite"];
        if let Some(other) = guards
            .iter()
            .filter_map(|name| own(name))
            .find(|it| !matches!(it.argument(0), Some("off" | "all")))
        {
            return Err(format!("the location that it asks has `{}`", other.name));
        }
        if inner.value("proxy_pass_request_headers") == Some("off") || own("proxy_method").is_some()
        {
            return Err("the location that it asks changes the question".to_owned());
        }
        let pass = own("proxy_pass").ok_or("the location that it asks has no `proxy_pass`")?;
        let written = pass.argument(0).unwrap_or_default();
        let target =
            ProxyPass::parse(written).filter(|it| !it.h2c && !it.authority.starts_with("unix:"));
        let target = target.ok_or_else(|| format!("`{written}` is not a URL of HTTP"))?;
        let block = self.upstreams.iter().find(|it| it.argument(0) == Some(target.authority));
        let authority = match block {
            None => target.authority,
            Some(block) => {
                let mut servers = block.children("server");
                match (servers.next(), servers.next()) {
                    (Some(only), None) if only.arguments.len() == 1 => only
                        .argument(0)
                        .filter(|it| !it.starts_with("unix:"))
                        .ok_or("a Unix socket")?,
                    _ => {
                        return Err(format!(
                            "the upstream `{}` has several servers",
                            target.authority
                        ));
                    }
                }
            }
        };
        if target.tls && !inner.is_on("proxy_ssl_verify") {
            let text = "nginx accepts any certificate of this service, but Tidegate verifies it; set `ca` of the \
                scheme";
            self.notes.changed(&pass.position, text);
        }
        let scheme = if target.tls { "https" } else { "http" };
        Ok(format!("{scheme}://{authority}{}", target.uri.unwrap_or(uri)))
    }
}

/// The location that takes the question.
fn location_of<'d>(server: &'d Directive, uri: &str) -> Option<&'d Directive> {
    if uri.contains(['$', '?']) {
        return None;
    }
    let has_regex =
        server.children("location").any(|it| it.argument(0).is_some_and(|it| it.starts_with('~')));
    server.children("location").find(|location| {
        let arguments: Vec<&str> = location.arguments.iter().map(String::as_str).collect();
        match arguments.as_slice() {
            ["=" | "^~", path] => *path == uri,
            [path] => *path == uri && !has_regex,
            _ => false,
        }
    })
}

/// Whether the service learns all that it learns from nginx.
fn review_headers(inner: &BlockScope<'_>) -> Result<(), String> {
    for directive in inner.all("proxy_set_header") {
        let name = directive.argument(0).unwrap_or_default();
        let value = directive.argument(1).unwrap_or_default();
        let is_known = KNOWN_HEADERS.iter().any(|(known, values)| {
            known.eq_ignore_ascii_case(name) && (values.is_empty() || values.contains(&value))
        });
        if !is_known {
            return Err(format!("the service gets the header `{name}` with `{value}`"));
        }
    }
    Ok(())
}
