//! Compiles what a route answers without an upstream: `respond`, `redirect`, `files`. It knows nothing of
//! requests.

use super::Compiler;
use super::built_in::{BuiltIn, CompiledFilter, RouteScope, compiled};
use super::headers::MessageDirection;
use crate::filter::{RedirectFilter, RespondFilter, UriTemplate};
use crate::routing::PathRule;
use http::StatusCode;
use http::header::HeaderValue;
use tidegate_config::{self as config, Problem, Redirect, Respond, Span, Spanned, defaults};
use tidegate_http::template::{Template, TemplatePart, Variable};

pub(super) const FILTER: BuiltIn = BuiltIn {
    keys: &["respond", "redirect", "files"],
    for_all: |_| None,
    for_route: |compiler, route, _| compiler.fixed_answer(route),
};

/// The keys of which a route needs exactly one.
const DESTINATION_KEYS: [&str; 4] = ["upstream", "redirect", "respond", "files"];

/// Whether the problem is about one of the keys that decide where the route leads.
fn is_about_destination(problem: &Problem, route: &str) -> bool {
    let key = problem.path().strip_prefix(route).and_then(|rest| rest.strip_prefix('.'));
    key.is_some_and(|key| {
        let key = key.split(['.', '[']).next().unwrap_or_default();
        DESTINATION_KEYS.contains(&key) || problem.is_unknown_key()
    })
}

impl Compiler<'_> {
    /// The response of a route without an upstream.
    fn fixed_answer(&mut self, route: &RouteScope<'_>) -> CompiledFilter {
        let RouteScope { written, rule, key_path } = *route;
        let config::Route { upstream, redirect, respond, files, .. } = written;
        let given: Vec<(&str, Span)> = [
            upstream.as_ref().map(|it| ("upstream", it.span)),
            redirect.as_ref().map(|it| ("redirect", it.span)),
            respond.as_ref().map(|it| ("respond", it.span)),
            files.as_ref().map(|it| ("files", it.span)),
        ]
        .into_iter()
        .flatten()
        .collect();
        match given.as_slice() {
            // A misspelt or malformed key is already reported, and is probably the missing one.
            [] if self.problems.iter().any(|it| is_about_destination(it, key_path)) => {}
            [] if DESTINATION_KEYS
                .iter()
                .any(|key| self.broken.is_any_within(&format!("{key_path}.{key}"))) => {}
            [] => {
                let reason = "the route needs one of `upstream`, `redirect`, `respond` and `files`";
                self.problems.add(written.name.span, key_path, reason);
            }
            [_] => {}
            [(first, _), others @ ..] => {
                for (other, span) in others {
                    let reason = format!("a route has `{first}` or `{other}`, not both");
                    self.problems.add(*span, format!("{key_path}.{other}"), reason);
                }
            }
        }
        if upstream.is_none() && !given.is_empty() {
            self.refuse_what_needs_an_upstream(written, key_path);
        }
        let redirect = redirect
            .as_ref()
            .and_then(|redirect| self.redirect(redirect, &format!("{key_path}.redirect")));
        let respond = respond
            .as_ref()
            .and_then(|respond| self.respond(respond, &format!("{key_path}.respond")));
        let files = files.as_ref().and_then(|files| {
            // Where it can't be, it is told with the route.
            let prefix = match rule.path {
                PathRule::Prefix(_) => self.rewrite_prefix(written, key_path, rule),
                PathRule::Exact(_) => None,
            };
            self.files(files, prefix, &format!("{key_path}.files"))
        });
        compiled(redirect).or(compiled(respond)).or(compiled(files))
    }

    fn refuse_what_needs_an_upstream(&mut self, written: &config::Route, key_path: &str) {
        let websocket = written.websocket.as_ref().map(|it| ("websocket", it.span));
        let prefix = written.rewrite.prefix.as_ref().map(|it| ("rewrite.prefix", it.span));
        let prefix = prefix.filter(|_| written.files.is_none());
        for (key, span) in websocket.into_iter().chain(prefix) {
            let reason = "this setting needs an `upstream`, but the gateway itself answers the \
                          requests of this route";
            self.problems.add(span, format!("{key_path}.{key}"), reason);
        }
    }

    fn redirect(&mut self, written: &Spanned<Redirect>, key_path: &str) -> Option<RedirectFilter> {
        let status = match &written.status {
            None => StatusCode::from_u16(defaults::redirect::STATUS).ok()?,
            Some(status) => match status.value {
                code @ (301 | 302 | 303 | 307 | 308) => StatusCode::from_u16(code).ok()?,
                code => {
                    let reason = format!("must be 301, 302, 303, 307 or 308, not `{code}`");
                    self.problems.add(status.span, format!("{key_path}.status"), reason);
                    return None;
                }
            },
        };
        // The variables were validated when the file was read.
        let to: Template = written.to.as_str().parse().ok()?;
        if let Err(reason) = check_target(&to) {
            self.problems.add(written.to.span, format!("{key_path}.to"), reason);
            return None;
        }
        Some(RedirectFilter { to: UriTemplate::new(to), status })
    }

    fn respond(&mut self, written: &Spanned<Respond>, key_path: &str) -> Option<RespondFilter> {
        let status = match (&written.status, &written.body) {
            (Some(status), _) => StatusCode::from_u16(status.value).ok()?,
            (None, Some(_)) => StatusCode::OK,
            (None, None) => StatusCode::NO_CONTENT,
        };
        let headers = self.fields(
            &written.headers,
            MessageDirection::ToClient,
            &format!("{key_path}.headers"),
        );
        let content_type = match &written.content_type {
            None => HeaderValue::from_static(defaults::respond::CONTENT_TYPE),
            Some(content_type) => match HeaderValue::from_str(content_type) {
                Ok(value) if content_type.contains('/') => value,
                _ => {
                    let reason = "must be a media type such as `application/json`";
                    self.problems.add(
                        content_type.span,
                        format!("{key_path}.content_type"),
                        reason,
                    );
                    return None;
                }
            },
        };
        match (&written.body, &written.content_type) {
            (Some(body), _) if matches!(status.as_u16(), 204 | 205 | 304) => {
                let reason =
                    format!("a response with status {} has no body (RFC 9110)", status.as_u16());
                self.problems.add(body.span, format!("{key_path}.body"), reason);
            }
            (None, Some(content_type)) if !self.broken.is_any_within(key_path) => {
                let reason = "`content_type` needs a `body`";
                self.problems.add(content_type.span, format!("{key_path}.content_type"), reason);
            }
            _ => {}
        }
        let body = written.body.as_ref().map(|body| (body.value.clone().into(), content_type));
        Some(RespondFilter { status, body, headers })
    }
}

/// Whether the target of a redirect is independent of the request.
fn check_target(to: &Template) -> Result<(), String> {
    let literals = to.parts().iter().filter_map(|part| match part {
        TemplatePart::Literal(text) => Some(text),
        TemplatePart::Variable(_) => None,
    });
    for literal in literals {
        if let Some(wrong) = literal.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!(
                "`{wrong}` is not allowed in a URL; percent-encode the character, as in `%20`"
            ));
        }
    }
    let form = || {
        Err("must be a path that begins with `/`, or a URL that begins with `https://`, \
             `http://` or `{scheme}://`"
            .to_owned())
    };
    let is_path = |part: &TemplatePart| {
        matches!(part, TemplatePart::Variable(Variable::Path | Variable::Target))
    };
    let (mut in_authority, mut behind) = (false, String::new());
    for (index, part) in to.parts().iter().enumerate() {
        match part {
            TemplatePart::Literal(text) if index == 0 => {
                let authority = text.strip_prefix("https://").or(text.strip_prefix("http://"));
                match authority {
                    Some(authority) => in_authority = !authority.contains(['/', '?', '#']),
                    None if text.starts_with("//") || !text.starts_with('/') => return form(),
                    None => {}
                }
            }
            TemplatePart::Literal(text) if behind == "scheme" => match text.strip_prefix("://") {
                Some(authority) => in_authority = !authority.contains(['/', '?', '#']),
                None => return form(),
            },
            TemplatePart::Literal(text) => in_authority &= !text.contains(['/', '?', '#']),
            TemplatePart::Variable(Variable::Scheme) if index == 0 => {
                behind = "scheme".to_owned();
                continue;
            }
            _ if behind == "scheme" => return form(),
            part if is_path(part) && behind.ends_with('/') => {
                return Err(
                    "the URL would contain `//`, because `{path}` and `{target}` begin with a \
                     slash: remove the slash before the variable"
                        .to_owned(),
                );
            }
            part if is_path(part) => in_authority = false,
            TemplatePart::Variable(Variable::Host | Variable::Authority) if in_authority => {}
            TemplatePart::Variable(_) if index == 0 => return form(),
            TemplatePart::Variable(variable) if in_authority => {
                let name = variable.name();
                return Err(format!(
                    "`{{{name}}}` is not allowed in the host, because clients choose its value"
                ));
            }
            TemplatePart::Variable(Variable::Query) if !behind.contains('?') => {
                return Err("`{query}` is allowed only after a `?`; or use `{target}`".to_owned());
            }
            TemplatePart::Variable(_) => {}
        }
        if behind == "scheme" {
            behind.clear();
        }
        match part {
            TemplatePart::Literal(text) => behind.push_str(text),
            TemplatePart::Variable(variable) => behind.push_str(&variable.name()),
        }
    }
    match to.parts() {
        [] | [TemplatePart::Variable(Variable::Scheme)] => form(),
        _ if behind.ends_with("://") => form(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(to: &str) -> bool {
        check_target(&to.parse().expect("a template")).is_ok()
    }

    #[test]
    fn redirect_target_with_a_fixed_host_is_accepted() {
        for to in [
            "/",
            "/new{path}",
            "{path}",
            "{target}",
            "{path}?from={route}",
            "/login?next={query}&user={user.id}",
            "/u/{user.id}",
            "https://example.com",
            "https://example.com{target}",
            "https://www.{host}{target}",
            "https://{host}:8443{path}?{query}",
            "{scheme}://{authority}/x",
            "{scheme}://new.example{target}#top",
        ] {
            assert!(is_taken(to), "{to}");
        }
    }

    #[test]
    fn redirect_target_whose_host_a_client_chooses_is_refused() {
        for to in [
            "",
            "//{host}",
            "/{path}",
            "https://example.com/{target}",
            "{query}",
            "{user.id}",
            "{host}{path}",
            "https://{user.id}/",
            "https://{query}",
            "https://example.com{query}",
            "https://example.com{user.id}",
            "{scheme}{path}",
            "{scheme}://{user.id}/",
            "{scheme}",
            "https://",
            "/{query}",
            "javascript:alert(1)",
            "ftp://example.com/",
            "example.com",
            "/a b",
            "/ü",
        ] {
            assert!(!is_taken(to), "{to}");
        }
    }
}
