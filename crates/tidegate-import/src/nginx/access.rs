//! `allow`, `deny` and authentication. A rule that cannot be converted closes the routes that it guards, so that an
//! import never opens them; this module does not know how routes are matched.

use super::scope::BlockScope;
use crate::draft::Action;
use crate::note::Notes;

/// Directives that restrict access, and the argument that switches each off.
const ACCESS_DIRECTIVES: [(&str, &str); 8] = [
    ("allow", "all"),
    ("auth_basic", "off"),
    ("auth_jwt", "off"),
    ("auth_request", "off"),
    ("deny", ""),
    ("secure_link", "off"),
    ("ssl_verify_client", "off"),
    ("valid_referers", "none"),
];

/// The answer that replaces a guarded route.
pub(super) fn denied_response(scope: &BlockScope<'_>, notes: &mut Notes) -> Option<Action> {
    if scope.own_directives().iter().any(|directive| directive.name == "internal") {
        return Some(respond(404));
    }
    let (allow, deny) = (scope.all("allow"), scope.all("deny"));
    let denies_all = allow.is_empty() && deny.iter().any(|it| it.argument(0) == Some("all"));
    if denies_all {
        return Some(respond(403));
    }
    let mut is_guarded = false;
    for (name, harmless) in ACCESS_DIRECTIVES {
        for directive in scope.all(name) {
            if directive.argument(0) == Some(harmless) {
                continue;
            }
            // `allow` without `deny` refuses no request.
            if name == "allow" && deny.is_empty() {
                continue;
            }
            is_guarded = true;
            let text = match name {
                "ssl_verify_client" => "client certificates are not converted: set \
                    `listeners[].tls.client_auth`, then replace `respond` in the routes that \
                    answer 403 until then"
                    .to_owned(),
                _ => format!(
                    "`{}`: access control that the import cannot convert; the route answers 403 \
                     until you replace it",
                    directive.display()
                ),
            };
            notes.left_out(&directive.position, text);
        }
    }
    is_guarded.then(|| respond(403))
}

/// A fixed answer without a body.
pub(super) fn respond(status: u16) -> Action {
    Action::Respond { status, body: None, content_type: None }
}
