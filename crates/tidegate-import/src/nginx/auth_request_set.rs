//! The variables of `auth_request_set`: which header of the service's response each has. It does not know what becomes of
//! them.

use super::scope::BlockScope;

/// The header of the service's response that a variable of `auth_request_set` has.
pub(super) fn taken_header(scope: &BlockScope<'_>, value: &str) -> Option<String> {
    let name =
        value.strip_prefix("${").and_then(|it| it.strip_suffix('}')).or(value.strip_prefix('$'))?;
    let mut set = scope.all("auth_request_set").into_iter();
    let set = set.rfind(|it| it.argument(0).and_then(|it| it.strip_prefix('$')) == Some(name))?;
    let header = set.argument(1)?.strip_prefix("$upstream_http_")?;
    Some(header.to_ascii_lowercase().replace('_', "-"))
}

/// Whether a text has a variable of `auth_request_set`.
pub(super) fn uses_variable(scope: &BlockScope<'_>, value: &str) -> bool {
    let set = scope.all("auth_request_set").into_iter();
    set.filter_map(|it| it.argument(0)?.strip_prefix('$'))
        .any(|name| value.contains(&format!("${name}")) || value.contains(&format!("${{{name}}}")))
}
