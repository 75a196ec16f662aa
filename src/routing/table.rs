//! Finds the route of a request. It knows nothing of what a route does.

use super::{PathRule, Rule};
use http::{HeaderMap, Method};
use std::borrow::Cow;
use std::collections::HashMap;
use tidegate_http::host::HostPattern;

/// What routing looks at.
#[derive(Debug, Clone, Copy)]
pub struct Query<'q> {
    /// The normalised path.
    pub path: &'q str,
    /// The query string, without `?`.
    pub query: Option<&'q str>,
    /// The host, without port, in any case.
    pub host: &'q str,
    /// The method.
    pub method: &'q Method,
    /// The header fields.
    pub headers: &'q HeaderMap,
}

/// Why no route takes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Miss {
    /// No route matches.
    NotFound,
    /// Routes match but for the method; these methods would do.
    MethodNotAllowed(Vec<Method>),
}

/// Routes, arranged so that a look-up costs the depth of the path and not their number.
///
/// The most specific wins: exact path, then longest prefix, then exact host over longest
/// wildcard over none, then more conditions, then `HEAD` by its name over `HEAD` by way of `GET`,
/// then file order.
#[derive(Debug)]
pub struct Table<T> {
    entries: Vec<(Rule, T)>,
    exact: HashMap<Box<str>, HostIndex>,
    /// A trie of path segments; `nodes[0]` is the root.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    parent: Option<usize>,
    children: HashMap<Box<str>, usize>,
    rules: HostIndex,
}

/// The entries at one path, by host; each list in order of precedence.
#[derive(Debug, Default)]
struct HostIndex {
    exact: HashMap<Box<str>, Vec<usize>>,
    below: HashMap<Box<str>, Vec<usize>>,
    any: Vec<usize>,
}

impl<T> Table<T> {
    /// Arranges the routes, given in file order.
    pub fn new(entries: Vec<(Rule, T)>) -> Self {
        let mut table = Self { exact: HashMap::new(), nodes: vec![Node::default()], entries };
        let mut order: Vec<usize> = (0..table.entries.len()).collect();
        // A stable sort: among equals the file's order stays.
        order.sort_by_key(|&index| {
            std::cmp::Reverse(table.entries.get(index).map_or(0, |(rule, _)| rule.conditions()))
        });
        for index in order {
            let Some((rule, _)) = table.entries.get(index) else { continue };
            let hosts = rule.hosts.clone();
            let at = match rule.path.clone() {
                PathRule::Exact(path) => table.exact.entry(path.into()).or_default(),
                PathRule::Prefix(prefix) => {
                    let node = table.node_for(&prefix);
                    match table.nodes.get_mut(node) {
                        Some(node) => &mut node.rules,
                        None => continue,
                    }
                }
            };
            at.insert(&hosts, index);
        }
        table
    }

    fn node_for(&mut self, prefix: &str) -> usize {
        let mut current = 0;
        for segment in prefix.split('/').skip(1) {
            let known = self.nodes.get(current).and_then(|node| node.children.get(segment));
            current = match known {
                Some(&child) => child,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node { parent: Some(current), ..Node::default() });
                    if let Some(node) = self.nodes.get_mut(current) {
                        node.children.insert(segment.into(), child);
                    }
                    child
                }
            };
        }
        current
    }

    /// The most specific route that takes the request.
    pub fn find(&self, query: &Query<'_>) -> Result<&T, Miss> {
        let host: Cow<'_, str> = if query.host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            query.host.to_ascii_lowercase().into()
        } else {
            query.host.into()
        };
        let mut wrong_method = Vec::new();
        let mut search = |rules: &HostIndex| {
            rules.by_precedence(&host).find_map(|list| self.pick(list, query, &mut wrong_method))
        };
        if let Some(route) = self.exact.get(query.path).and_then(&mut search) {
            return Ok(route);
        }
        let mut node = self.nodes.get(self.deepest(query.path));
        while let Some(current) = node {
            if let Some(route) = search(&current.rules) {
                return Ok(route);
            }
            node = current.parent.and_then(|parent| self.nodes.get(parent));
        }
        Err(self.miss(&wrong_method))
    }

    /// The first that takes the request, of entries for one path and host.
    fn pick(&self, list: &[usize], query: &Query<'_>, wrong_method: &mut Vec<usize>) -> Option<&T> {
        // Takes HEAD because it takes GET: one as specific may name HEAD itself.
        let mut implied: Option<(usize, &T)> = None;
        for &index in list {
            let Some((rule, route)) = self.entries.get(index) else { continue };
            if implied.is_some_and(|(conditions, _)| rule.conditions() < conditions) {
                break;
            }
            if !rule.takes_fields(query) {
                continue;
            }
            if rule.names_method(query.method) {
                return Some(route);
            }
            if rule.takes_method(query.method) {
                implied.get_or_insert((rule.conditions(), route));
            } else {
                wrong_method.push(index);
            }
        }
        implied.map(|(_, route)| route)
    }

    /// The node of the longest prefix of `path` that any rule's prefix leads through.
    fn deepest(&self, path: &str) -> usize {
        let mut current = 0;
        for segment in path.split('/').skip(1) {
            match self.nodes.get(current).and_then(|node| node.children.get(segment)) {
                Some(&child) => current = child,
                None => break,
            }
        }
        current
    }

    fn miss(&self, wrong_method: &[usize]) -> Miss {
        if wrong_method.is_empty() {
            return Miss::NotFound;
        }
        let mut allowed: Vec<Method> = wrong_method
            .iter()
            .filter_map(|&index| self.entries.get(index))
            .flat_map(|(rule, _)| rule.taken_methods().cloned())
            .collect();
        allowed.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        allowed.dedup();
        Miss::MethodNotAllowed(allowed)
    }

    /// The routes, in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&Rule, &T)> {
        self.entries.iter().map(|(rule, route)| (rule, route))
    }
}

impl HostIndex {
    fn insert(&mut self, hosts: &[HostPattern], index: usize) {
        if hosts.is_empty() {
            self.any.push(index);
        }
        for host in hosts {
            match host {
                HostPattern::Exact(name) => {
                    self.exact.entry(name.as_str().into()).or_default().push(index);
                }
                HostPattern::Below(suffix) => {
                    self.below.entry(suffix.as_str().into()).or_default().push(index);
                }
            }
        }
    }

    fn by_precedence<'s>(&'s self, host: &'s str) -> impl Iterator<Item = &'s [usize]> + 's {
        let exact = (!self.exact.is_empty()).then(|| self.exact.get(host)).flatten();
        // `a.b.c` looks for `.b.c`, then `.c`: the longest wildcard first. A name that begins
        // with the dot has nothing below it, hence `index > 0`.
        let host = if self.below.is_empty() { "" } else { host };
        let below = host
            .match_indices('.')
            .filter(|&(index, _)| index > 0)
            .filter_map(|(index, _)| self.below.get(host.get(index..)?));
        exact.into_iter().chain(below).chain(std::iter::once(&self.any)).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ValueRule;
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    /// The plain matcher: looks at every rule, keeps the best.
    fn reference(rules: &[Rule], query: &Query<'_>) -> Option<usize> {
        let host = query.host.to_ascii_lowercase();
        let host_rank = |rule: &Rule| {
            if rule.hosts.is_empty() {
                return Some((0, 0));
            }
            rule.hosts
                .iter()
                .filter_map(|pattern| match pattern {
                    HostPattern::Exact(name) => (*name == host).then_some((2, 0)),
                    HostPattern::Below(suffix) => (host.len() > suffix.len()
                        && host.ends_with(suffix.as_str()))
                    .then_some((1, suffix.len())),
                })
                .max()
        };
        rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.path.matches(query.path))
            .filter(|(_, rule)| rule.takes_method(query.method) && rule.takes_fields(query))
            .filter_map(|(index, rule)| {
                let path_rank = match &rule.path {
                    PathRule::Exact(_) => (1, 0),
                    PathRule::Prefix(prefix) => (0, prefix.matches('/').count()),
                };
                let is_named = rule.names_method(query.method);
                let rank = (path_rank, host_rank(rule)?, rule.conditions(), is_named);
                Some((rank, std::cmp::Reverse(index)))
            })
            .max()
            .map(|(_, std::cmp::Reverse(index))| index)
    }

    fn paths() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "c"]), 0..4)
            .prop_map(|segments| format!("/{}", segments.join("/")))
    }

    fn hosts() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["x.com", "a.x.com", "b.a.x.com", "y.org", "A.x.com"])
            .prop_map(str::to_owned)
    }

    fn methods() -> impl Strategy<Value = Method> {
        prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST])
    }

    fn rules() -> impl Strategy<Value = Rule> {
        let host = prop_oneof![
            hosts().prop_map(|host| HostPattern::parse(&host)),
            prop::sample::select(vec!["*.x.com", "*.a.x.com", "*.com"])
                .prop_map(HostPattern::parse)
        ];
        let value = prop_oneof![
            Just(ValueRule::Exact("1".to_owned())),
            any::<bool>().prop_map(ValueRule::Present)
        ];
        let fields = prop::option::of(value);
        (
            paths(),
            any::<bool>(),
            prop::collection::vec(host, 0..2),
            prop::collection::vec(methods(), 0..2),
            fields.clone(),
            fields,
        )
            .prop_map(|(path, exact, hosts, methods, header, query)| Rule {
                path: if exact { PathRule::Exact(path) } else { PathRule::prefix(&path) },
                hosts,
                methods,
                headers: header
                    .map(|value| (HeaderName::from_static("x-version"), value))
                    .into_iter()
                    .collect(),
                query: query.map(|value| ("v".to_owned(), value)).into_iter().collect(),
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn table_agrees_with_the_reference_matcher(
            rules in prop::collection::vec(rules(), 0..24),
            path in paths(),
            slash in any::<bool>(),
            host in hosts(),
            method in methods(),
            header in prop::option::of(prop::sample::select(vec!["1", "2"])),
            query in prop::option::of(prop::sample::select(vec!["v=1", "v=2", "w=1"])),
        ) {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert("x-version", HeaderValue::from_static(value));
            }
            let path = if slash && path != "/" { format!("{path}/") } else { path };
            let query = Query { path: &path, query, host: &host, method: &method, headers: &headers };
            let numbered = rules.iter().cloned().zip(0..).collect();
            let found = Table::new(numbered).find(&query).ok().copied();
            prop_assert_eq!(found, reference(&rules, &query));
            // What is told of a rule's conditions is what the table goes by.
            let meets_all = |rule: &Rule| rule.judge(&query).iter().all(|it| it.is_met);
            prop_assert_eq!(found.is_some(), rules.iter().any(meets_all));
            prop_assert!(found.is_none_or(|index| meets_all(&rules[index])));
        }
    }

    fn find(table: &Table<&'static str>, method: Method, path: &str) -> Result<&'static str, Miss> {
        let headers = HeaderMap::new();
        let query = Query { path, query: None, host: "h", method: &method, headers: &headers };
        table.find(&query).copied()
    }

    fn rule(path: PathRule, methods: &[Method]) -> Rule {
        Rule { path, hosts: vec![], methods: methods.to_vec(), headers: vec![], query: vec![] }
    }

    #[test]
    fn prefix_matches_whole_segments_only() {
        let table = Table::new(vec![(rule(PathRule::prefix("/api/notification"), &[]), "api")]);
        assert_eq!(find(&table, Method::GET, "/api/notification"), Ok("api"));
        assert_eq!(find(&table, Method::GET, "/api/notification/x"), Ok("api"));
        assert_eq!(find(&table, Method::GET, "/api/notifications"), Err(Miss::NotFound));
    }

    #[test]
    fn method_mismatch_lists_the_allowed_methods() {
        let table = Table::new(vec![
            (rule(PathRule::prefix("/a"), &[Method::POST, Method::GET]), "a"),
            (rule(PathRule::prefix("/a/b"), &[Method::PUT]), "b"),
        ]);
        assert_eq!(find(&table, Method::GET, "/a/b"), Ok("a"));
        assert_eq!(
            find(&table, Method::DELETE, "/a/b"),
            Err(Miss::MethodNotAllowed(vec![Method::GET, Method::HEAD, Method::POST, Method::PUT]))
        );
    }

    #[test]
    fn get_route_takes_head_unless_an_equal_rule_names_head() {
        let table = Table::new(vec![
            (rule(PathRule::prefix("/a"), &[Method::GET]), "get"),
            (rule(PathRule::prefix("/a"), &[Method::HEAD]), "head"),
            (rule(PathRule::prefix("/b"), &[Method::GET]), "get"),
            (rule(PathRule::prefix("/b"), &[]), "any"),
        ]);
        assert_eq!(find(&table, Method::GET, "/a"), Ok("get"));
        assert_eq!(find(&table, Method::HEAD, "/a"), Ok("head"));
        assert_eq!(find(&table, Method::HEAD, "/b"), Ok("get"));
        assert_eq!(find(&table, Method::POST, "/b"), Ok("any"));
    }
}
