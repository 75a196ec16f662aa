//! Builds the filters that the configuration uses by name with the program's factories, and reports the errors of
//! these. Knows nothing of what a filter does.

use super::Compiler;
use crate::filter::{Filter, UseError};
use std::sync::Arc;
use tidegate_config::Filters;
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
    /// The filters of a list, as far as their factories build them.
    pub(super) fn named_filters(&mut self, written: &Filters, at: &str) -> Vec<NamedFilter> {
        let mut filters = Vec::with_capacity(written.0.len());
        for used in &written.0 {
            match self.env.filters.build(used) {
                Ok(filter) => filters.push(NamedFilter {
                    name: used.name.as_str().into(),
                    filter,
                    serialised: used.digestible(),
                }),
                Err(UseError { span, path, reason, help }) => {
                    let problem = self.problems.add(span, format!("{at}{path}"), reason);
                    if let Some(help) = help {
                        problem.help(help);
                    }
                }
            }
        }
        filters
    }
}
