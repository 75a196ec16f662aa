//! `return`, and `rewrite`s that are redirects, as fixed responses. It does not know how routes are matched.

use super::access::respond;
use super::scope::BlockScope;
use super::tree::Directive;
use super::values;
use crate::draft::Action;
use crate::note::Notes;

/// The fixed response of a block.
pub(super) fn fixed_response(scope: &BlockScope<'_>, notes: &mut Notes) -> Option<Action> {
    scope.own_directives().iter().find_map(|directive| match directive.name.as_str() {
        "return" => Some(return_action(directive, scope, notes)),
        "rewrite" => rewrite_redirect(directive, notes),
        _ => None,
    })
}

fn return_action(directive: &Directive, scope: &BlockScope<'_>, notes: &mut Notes) -> Action {
    let first = directive.argument(0).unwrap_or_default();
    let (status, rest) = match first.parse::<u16>() {
        Ok(status) => (status, directive.argument(1)),
        Err(_) => (302, Some(first)),
    };
    match (status, rest) {
        (301 | 302 | 303 | 307 | 308, Some(to)) => redirect(directive, status, to, notes),
        (444, _) => {
            let text = "nginx closes the connection for 444; Tidegate answers 404";
            notes.changed(&directive.position, text);
            respond(404)
        }
        (200..=599, Some(body)) if body.contains('$') => {
            notes.left_out(
                &directive.position,
                "a response body with variables; the response has no body",
            );
            respond(status)
        }
        (200..=599, body) => {
            let body = body.filter(|_| !matches!(status, 204 | 304)).map(str::to_owned);
            let content_type = scope.value("default_type").unwrap_or("text/plain").to_owned();
            let content_type = body.as_ref().map(|_| content_type);
            Action::Respond { status, body, content_type }
        }
        _ => note_not_imported(directive, notes),
    }
}

fn redirect(directive: &Directive, status: u16, to: &str, notes: &mut Notes) -> Action {
    match values::translate_template(&to.replace("$server_name", "$host")) {
        Ok(to) => Action::Redirect(status, to),
        Err(variable) => {
            let text = format!(
                "Tidegate has no equivalent of the variable `{variable}`; the redirect \
                 is answered with 501"
            );
            notes.left_out(&directive.position, text);
            respond(501)
        }
    }
}

/// Converts redirects such as `rewrite ^ URL permanent`, whose URL has the whole path or nothing of it.
fn rewrite_redirect(directive: &Directive, notes: &mut Notes) -> Option<Action> {
    let [pattern, to, flag] = directive.arguments.as_slice() else { return None };
    let status = match flag.as_str() {
        "permanent" => 301,
        "redirect" => 302,
        _ => return None,
    };
    let to = match pattern.as_str() {
        "^" | ".*" | "^.*" | "^.*$" => to.trim_end_matches('?').to_owned(),
        "^(.*)$" | "^(.*)" | "(.*)" => to.replace("$1", "$request_uri"),
        "^/(.*)$" | "^/(.*)" => to.replace("/$1", "$request_uri"),
        _ => return None,
    };
    Some(redirect(directive, status, &to, notes))
}

fn note_not_imported(directive: &Directive, notes: &mut Notes) -> Action {
    notes.left_out(
        &directive.position,
        format!(
            "`{}`: the import does not support it; these requests \
             are answered with 501",
            directive.display()
        ),
    );
    respond(501)
}

/// The port of a redirect of every request to the same URL over HTTPS; `None` for any other action.
pub(super) fn https_redirect_port(action: &Action, hosts: &[String]) -> Option<u16> {
    let Action::Redirect(_, to) = action else { return None };
    let authority = to.strip_prefix("https://")?.strip_suffix("{target}")?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, 443),
    };
    let is_same = matches!(host, "{host}" | "{authority}")
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
    is_same.then_some(port)
}
