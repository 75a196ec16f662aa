//! What the table of built-in filters has of each: the keys that set it, and how it is compiled. Knows no single filter,
//! and not their order.

use super::Compiler;
use crate::filter::Filter;
use crate::routing::Rule;
use std::any::Any;
use std::sync::Arc;
use tidegate_config as config;
use tidegate_http::stable_hash::StableHash;

/// A built-in filter, as the table lists it.
pub(super) struct BuiltIn {
    /// The keys of the configuration that set it. The first is its name; no filter of a program can have one of these.
    pub(super) keys: &'static [&'static str],
    /// Compiles the top-level setting.
    pub(super) for_all: fn(&mut Compiler<'_>) -> CompiledFilter,
    /// Compiles the setting of a route, which inherits the top-level one.
    pub(super) for_route: fn(&mut Compiler<'_>, &RouteScope<'_>, CompiledFilter) -> CompiledFilter,
}

impl BuiltIn {
    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.keys.first().copied().unwrap_or_default()
    }
}

/// A filter with its settings; `None` where it does nothing, so that no request calls it.
pub(super) type CompiledFilter = Option<Arc<dyn BuiltInFilter>>;

/// What every built-in filter is: its fingerprint is part of the route's, and the rest of the route can depend on its
/// settings.
pub(super) trait BuiltInFilter: Filter + StableHash + Any {}

impl<F: Filter + StableHash + Any> BuiltInFilter for F {}

/// The same filter, without its type.
pub(super) fn compiled<F: BuiltInFilter>(filter: Option<F>) -> CompiledFilter {
    filter.map(|filter| Arc::new(filter) as _)
}

/// The same filter, if it is of this type.
pub(super) fn downcast<'f, F: BuiltInFilter>(
    filter: &'f (dyn BuiltInFilter + 'static),
) -> Option<&'f F> {
    let filter: &dyn Any = filter;
    filter.downcast_ref()
}

/// The route that a filter is compiled for.
pub(super) struct RouteScope<'r> {
    /// As it is written.
    pub(super) written: &'r config::Route,
    /// Its conditions.
    pub(super) rule: &'r Rule,
    /// Its path in the file.
    pub(super) key_path: &'r str,
}

impl RouteScope<'_> {
    /// The path of one of its keys in the file.
    pub(super) fn path_of(&self, key: &str) -> String {
        format!("{}.{key}", self.key_path)
    }
}
