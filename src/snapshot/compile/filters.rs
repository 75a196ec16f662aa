//! Builds the filters that the configuration uses by name with the program's factories, keeps those of the snapshot in
//! force whose settings have not changed, and reports errors. Knows nothing of what a filter does.

use super::Compiler;
use crate::filter::{Filter, UseError};
use crate::snapshot::FilterPlace;
use std::sync::Arc;
use tidegate_config::{FilterUse, Filters};
use tidegate_http::stable_hash;

/// A filter that the file uses by name.
#[derive(Clone)]
pub(super) struct NamedFilter {
    pub(super) name: Arc<str>,
    pub(super) filter: Arc<dyn Filter>,
    /// Name and settings in a serialised form, secrets included: part of the route's fingerprint.
    serialised: String,
}

stable_hash!(NamedFilter { serialised } without { name, filter });

impl Compiler<'_> {
    /// The filters of a route's list, or of the list for all routes, as far as their factories build them.
    pub(super) fn named_filters(
        &mut self,
        written: &Filters,
        route: &str,
        key_path: &str,
    ) -> Vec<NamedFilter> {
        let mut filters = Vec::with_capacity(written.0.len());
        for used in &written.0 {
            match self.named_filter(used, route) {
                Ok(filter) => filters.push(filter),
                Err(UseError { span, path, reason, help }) => {
                    let problem = self.problems.add(span, format!("{key_path}{path}"), reason);
                    if let Some(help) = help {
                        problem.help(help);
                    }
                }
            }
        }
        filters
    }

    fn named_filter(&mut self, used: &FilterUse, route: &str) -> Result<NamedFilter, UseError> {
        let serialised = used.digestible();
        let mut place =
            FilterPlace { route: route.to_owned(), serialised: serialised.clone(), number: 0 };
        while self.named_filters.contains_key(&place) {
            place.number += 1;
        }
        let kept = self.env.previous.and_then(|previous| previous.named_filters.get(&place));
        let filter = match kept {
            Some(filter) => Arc::clone(filter),
            None => self.env.filters.build(used)?,
        };
        self.named_filters.insert(place, Arc::clone(&filter));
        Ok(NamedFilter { name: used.name.as_str().into(), filter, serialised })
    }
}
