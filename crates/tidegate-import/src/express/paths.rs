//! Express's path patterns, and the path rewrites of http-proxy-middleware. It does not know handlers.

use crate::draft::PathRule;

/// Joins `/api` and `/users` to `/api/users`. The result has no slash at its end, except `/` itself.
pub(super) fn join(mount: &str, path: &str) -> String {
    let joined = format!("{}/{}", mount.trim_end_matches('/'), path.trim_start_matches('/'));
    match joined.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// The path of a rule, exact or not.
pub(super) fn rule_path(rule: &PathRule) -> &str {
    let (PathRule::Exact(path) | PathRule::Prefix(path)) = rule;
    path
}

/// Characters that make a path a pattern.
const PATTERN_CHARACTERS: [char; 10] = [':', '*', '(', ')', '{', '}', '?', '+', '[', '!'];

/// The literal segments at the start of a pattern.
pub(super) fn stem(pattern: &str) -> &str {
    let plain =
        pattern.find(PATTERN_CHARACTERS).and_then(|at| pattern.get(..at)).unwrap_or(pattern);
    plain.rfind('/').and_then(|at| plain.get(..at)).unwrap_or_default()
}

/// The path condition of a path below a mount; `None` if it is a pattern.
pub(super) fn rule(mount: &str, path: &str, is_prefix: bool) -> Option<PathRule> {
    let ends = ["/{*splat}", "/*splat", "/(.*)", "/**", "/*"];
    let stem = ends.iter().find_map(|end| path.strip_suffix(end));
    // `/a*` also matches `/ab`, so it is not a prefix of whole segments.
    let stem = stem.or_else(|| ["*", "(.*)"].contains(&path).then_some(""));
    let written = stem.unwrap_or(path);
    if written.contains(PATTERN_CHARACTERS) {
        return None;
    }
    let joined = join(mount, written);
    Some(match is_prefix || stem.is_some() {
        true => PathRule::Prefix(joined),
        false => PathRule::Exact(joined),
    })
}

/// The path that a pattern of `pathRewrite` stands for: `^/api`, `^/api/`.
pub(super) fn literal_prefix(pattern: &str) -> Option<String> {
    let pattern = pattern.strip_prefix('^')?.replace("\\/", "/");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_~".contains(&byte);
    (pattern.bytes().all(is_plain) && (pattern.is_empty() || pattern.starts_with('/')))
        .then_some(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_a_mount_are_joined_and_matched() {
        assert_eq!(join("/", "/"), "/");
        assert_eq!(join("/api/", "users/"), "/api/users");
        assert_eq!(rule("/api", "/x", true), Some(PathRule::Prefix("/api/x".to_owned())));
        assert_eq!(rule("/", "*", false), Some(PathRule::Prefix("/".to_owned())));
        assert_eq!(rule("/", "/x/*", false), Some(PathRule::Prefix("/x".to_owned())));
        assert_eq!(rule("/", "/x/:id", false), None);
        assert_eq!(rule("/", "/x*", false), None);
    }

    #[test]
    fn literal_start_of_a_pattern_is_found() {
        for (pattern, expected) in
            [("/api/:tenant/admin", "/api"), ("/api/user-:id", "/api"), ("/:id", ""), ("", "")]
        {
            assert_eq!(stem(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn regex_that_is_a_path_becomes_a_literal() {
        assert_eq!(literal_prefix("^/api").as_deref(), Some("/api"));
        assert_eq!(literal_prefix("^\\/api\\/").as_deref(), Some("/api/"));
        assert_eq!(literal_prefix("/api"), None);
        assert_eq!(literal_prefix("^/api/(v1|v2)"), None);
    }
}
