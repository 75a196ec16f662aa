//! The conditions that handlers put on the requests that reach later handlers, and the route parts that they create. It
//! does not know how a program is read.

use super::paths::rule_path;
use crate::draft::{Cors, PathRule, RateLimit};

/// Maximum number of parts of a divided route.
const MAX_ROUTE_PARTS: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConditionKind {
    /// The handler may reject them.
    Guard,
    Limit(RateLimit),
    Cors(Cors),
}

/// A set of requests, by path and method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestScope {
    pub path: PathRule,
    /// Empty for all methods.
    pub methods: Vec<String>,
}

impl RequestScope {
    /// The intersection.
    fn intersection(&self, other: &Self) -> Option<Self> {
        let (mine, its) = (rule_path(&self.path), rule_path(&other.path));
        let path = if self.path == other.path || self.path.contains(its) {
            &other.path
        } else if other.path.contains(mine) {
            &self.path
        } else {
            return None;
        };
        let methods: Vec<_> = match (self.methods.is_empty(), other.methods.is_empty()) {
            (true, _) => other.methods.clone(),
            (_, true) => self.methods.clone(),
            _ => other.methods.iter().filter(|it| self.methods.contains(it)).cloned().collect(),
        };
        let is_any = self.methods.is_empty() && other.methods.is_empty();
        (is_any || !methods.is_empty()).then(|| Self { path: path.clone(), methods })
    }

    fn covers(&self, other: &Self) -> bool {
        self.intersection(other).as_ref() == Some(other)
    }
}

#[derive(Debug)]
pub(super) struct Condition {
    pub scope: RequestScope,
    pub kind: ConditionKind,
    pub line: usize,
    /// Whether the condition applies only to the handlers of its own line.
    is_own: bool,
}

/// The conditions so far, in the program's order; each is known by its number.
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<Condition>);

impl Conditions {
    /// Adds a condition. A guard or a limit for one path also applies below it: Express treats `/a/` as `/a`, and a
    /// rewritten path is a prefix in Tidegate. `/` is the exception, because it would contain every path; and a CORS
    /// policy stays with its path, because it permits instead of restricting.
    pub(super) fn add(
        &mut self,
        mut scope: RequestScope,
        demand: ConditionKind,
        line: usize,
    ) -> usize {
        let mut is_own = false;
        if let PathRule::Exact(path) = &scope.path {
            match &demand {
                ConditionKind::Guard if path == "/" => {}
                ConditionKind::Guard | ConditionKind::Limit(_) if path != "/" => {
                    scope.path = PathRule::Prefix(path.clone());
                }
                _ => is_own = true,
            }
        }
        self.0.push(Condition { scope, kind: demand, line, is_own });
        self.0.len() - 1
    }

    /// The conditions with these numbers.
    pub(super) fn with_numbers<'c>(
        &'c self,
        numbers: &'c [usize],
    ) -> impl Iterator<Item = &'c Condition> {
        numbers.iter().filter_map(|number| self.0.get(*number))
    }

    /// The conditions that hold for all of these requests.
    pub(super) fn covering(&self, scope: &RequestScope) -> Vec<usize> {
        self.matching_numbers(|condition| condition.scope.covers(scope))
    }

    /// The conditions that hold for some of these requests.
    pub(super) fn overlapping(&self, scope: &RequestScope) -> Vec<usize> {
        self.matching_numbers(|condition| condition.scope.intersection(scope).is_some())
    }

    fn matching_numbers(&self, takes: impl Fn(&Condition) -> bool) -> Vec<usize> {
        let all = self.0.iter().enumerate();
        all.filter(|(_, condition)| !condition.is_own && takes(condition))
            .map(|(number, _)| number)
            .collect()
    }

    /// Divides these requests into parts with different conditions; `None` if there are too many.
    pub(super) fn divide(&self, whole: &RequestScope) -> Option<Vec<RequestScope>> {
        let mut parts = vec![whole.clone()];
        let mut next = 0;
        while let Some(part) = parts.get(next).cloned() {
            for condition in self.0.iter().filter(|condition| !condition.is_own) {
                let common =
                    condition.scope.intersection(&part).filter(|common| !parts.contains(common));
                parts.extend(common);
                if parts.len() > MAX_ROUTE_PARTS {
                    return None;
                }
            }
            next += 1;
        }
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(path: &str, methods: &[&str]) -> RequestScope {
        let methods = methods.iter().map(|it| (*it).to_owned()).collect();
        RequestScope { path: PathRule::Prefix(path.to_owned()), methods }
    }

    #[test]
    fn route_is_divided_where_conditions_differ() {
        let mut conditions = Conditions::default();
        conditions.add(scope("/api/login", &["POST"]), ConditionKind::Guard, 1);
        conditions.add(scope("/api/login/x", &[]), ConditionKind::Guard, 2);
        conditions.add(scope("/other", &[]), ConditionKind::Guard, 3);
        let parts = conditions.divide(&scope("/api", &[])).expect("not many");
        assert_eq!(
            parts,
            [
                scope("/api", &[]),
                scope("/api/login", &["POST"]),
                scope("/api/login/x", &[]),
                scope("/api/login/x", &["POST"]),
            ]
        );
        assert_eq!(conditions.covering(&scope("/api/login/x", &["POST"])), [0, 1]);
        assert_eq!(conditions.covering(&scope("/api/login", &["GET"])), [0_usize; 0]);
        assert_eq!(conditions.overlapping(&scope("/api", &["POST"])), [0, 1]);
        let exact = RequestScope { path: PathRule::Exact("/api".to_owned()), methods: Vec::new() };
        assert_eq!(conditions.divide(&exact).expect("one"), [exact]);
    }

    #[test]
    fn too_many_route_parts_give_none() {
        let mut conditions = Conditions::default();
        for number in 0..MAX_ROUTE_PARTS {
            conditions.add(scope(&format!("/{number}"), &[]), ConditionKind::Guard, 1);
        }
        assert_eq!(conditions.divide(&scope("/", &[])), None);
    }
}
