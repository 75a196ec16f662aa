//! The conditions of one rule alternative as the `match` of a route. It does not know rules as text.

use super::Importer;
use super::rule::Matcher;
use crate::draft::PathRule;

/// The conditions of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RouterConditions {
    pub hosts: Vec<String>,
    pub path: PathRule,
    pub methods: Vec<String>,
    pub headers: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
}

impl Importer<'_> {
    /// `None`, with a note, if a condition can't be converted: without it the route would match more.
    pub(super) fn conditions(
        &mut self,
        matchers: &[Matcher],
        line: usize,
    ) -> Option<RouterConditions> {
        let mut made = RouterConditions {
            hosts: Vec::new(),
            path: PathRule::prefix("/"),
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
        };
        for matcher in matchers {
            if self.condition(&mut made, matcher, line).is_none() {
                let not = if matcher.is_negated { "!" } else { "" };
                let text = format!(
                    "`{not}{}({})`: routes have no such condition; requests of this alternative go to \
                     other matching routes",
                    matcher.name,
                    matcher.arguments.join(", ")
                );
                self.left_out(line, text);
                return None;
            }
        }
        Some(made)
    }

    fn condition(
        &mut self,
        made: &mut RouterConditions,
        matcher: &Matcher,
        line: usize,
    ) -> Option<()> {
        if matcher.is_negated {
            return None;
        }
        let arguments = matcher.arguments.as_slice();
        match (matcher.name.as_str(), arguments) {
            ("Host" | "HostHeader", hosts) if !hosts.is_empty() && made.hosts.is_empty() => {
                made.hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
            }
            ("HostRegexp", [pattern]) if made.hosts.is_empty() => {
                if !matches!(
                    pattern.as_str(),
                    ".*" | ".+" | "^.*$" | "^.+$" | "{any:.*}" | "{host:.+}"
                ) {
                    made.hosts = vec![wildcard(pattern)?];
                    let text =
                        "`HostRegexp` becomes a wildcard host; `*.` matches one or more labels";
                    self.changed(line, text);
                }
            }
            ("Path", [path]) => {
                made.path = intersection(&made.path, PathRule::Exact(plain(path)?))?
            }
            ("PathPrefix", [path]) => {
                if path != "/" && !path.ends_with('/') {
                    let text = format!(
                        "Traefik matches every path that begins with `{path}`, such as `{path}x`; \
                         Tidegate's `path_prefix` matches whole segments, such as `{path}` and `{path}/x`"
                    );
                    self.changed(line, text);
                } else if path != "/" {
                    let text = format!(
                        "the route also matches `{}` without the slash",
                        path.trim_end_matches('/')
                    );
                    self.changed(line, text);
                }
                made.path = intersection(&made.path, PathRule::prefix(&plain(path)?))?;
            }
            ("Method", methods) if !methods.is_empty() && made.methods.is_empty() => {
                made.methods = methods.iter().map(|method| method.to_ascii_uppercase()).collect();
            }
            ("Header" | "Headers", [name, value]) => {
                made.headers.push((name.to_ascii_lowercase(), value.clone()));
            }
            ("Query", [name, value]) => made.query.push((name.clone(), value.clone())),
            ("Query", [pair]) => {
                let (name, value) = pair.split_once('=')?;
                made.query.push((name.to_owned(), value.to_owned()));
            }
            _ => return None,
        }
        Some(())
    }
}

/// A path without the patterns of version 2.
fn plain(path: &str) -> Option<String> {
    (path.starts_with('/') && !path.contains(['{', '}'])).then(|| path.to_owned())
}

/// The narrower of two paths, if one contains the other.
fn intersection(one: &PathRule, other: PathRule) -> Option<PathRule> {
    let (PathRule::Exact(written) | PathRule::Prefix(written)) = &other;
    if one.contains(written) || *one == other {
        return Some(other);
    }
    let (PathRule::Exact(written) | PathRule::Prefix(written)) = one;
    other.contains(written).then(|| one.clone())
}

/// `*.example.com` for patterns such as `^[^.]+\.example\.com$`.
fn wildcard(pattern: &str) -> Option<String> {
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
    let starts = [r"[^.]+\.", r"[^\.]+\.", r".+\.", r".*\.", r"[a-z0-9-]+\.", r"[a-zA-Z0-9-]+\."];
    let below = match starts.iter().find_map(|start| pattern.strip_prefix(start)) {
        Some(below) => below.replace("\\.", "."),
        // Version 2: `{sub:[a-z]+}.example.com`.
        None => pattern.strip_prefix('{')?.split_once("}.")?.1.to_owned(),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    (!below.is_empty() && below.bytes().all(is_name)).then(|| format!("*.{below}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_regex_of_subdomains_becomes_a_wildcard() {
        for (pattern, host) in [
            (r"^[^.]+\.example\.com$", Some("*.example.com")),
            ("{sub:[a-z]+}.example.com", Some("*.example.com")),
            (r"^(a|b)\.example\.com$", None),
            (r"^.+\.(com|org)$", None),
        ] {
            assert_eq!(wildcard(pattern).as_deref(), host, "{pattern}");
        }
    }
}
