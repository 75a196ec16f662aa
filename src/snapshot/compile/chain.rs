//! The one table of what happens to a request on its way through the filters, in order, and the filters of a route by it.
//! It knows nothing of what a filter does.

use super::built_in::{BuiltIn, BuiltInFilter, RouteScope, downcast};
use super::filters::NamedFilter;
use super::{
    CompileEnv, Compiler, answer, authentication, clients, cors, headers, maintenance, rate_limit,
    user_id,
};
use crate::authentication::Requirement;
use crate::compression::Compression;
use crate::filter::{AuthenticationFilter, CorsFilter, Filter, HeadersFilter, Phase};
use crate::websocket::Origins;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// A step on the way of a request. Responses take the way of the filters in reverse.
enum Step {
    /// A built-in filter.
    BuiltIn(BuiltIn),
    /// The check of the `Origin` of WebSocket handshakes. The log of a refusal names the user, and no filter behind sees
    /// what is refused.
    OriginCheck,
    /// The filters of the program.
    Program(Phase),
}

/// The way of a request. A new built-in filter is a line here.
static ORDER: &[Step] = &[
    Step::BuiltIn(headers::FILTER),
    Step::BuiltIn(clients::FILTER),
    Step::BuiltIn(user_id::FILTER),
    Step::OriginCheck,
    Step::BuiltIn(cors::FILTER),
    // After CORS: browsers send preflights without credentials.
    Step::BuiltIn(authentication::FILTER),
    Step::BuiltIn(maintenance::FILTER),
    Step::Program(Phase::BeforeLimits),
    Step::BuiltIn(rate_limit::FILTER),
    Step::Program(Phase::AfterLimits),
    Step::BuiltIn(answer::FILTER),
];

fn built_in_filters() -> impl Iterator<Item = &'static BuiltIn> {
    ORDER.iter().filter_map(|step| match step {
        Step::BuiltIn(filter) => Some(filter),
        Step::OriginCheck | Step::Program(_) => None,
    })
}

/// The keys of the configuration that set built-in filters.
pub(crate) fn filter_keys() -> impl Iterator<Item = &'static str> {
    built_in_filters().flat_map(|filter| filter.keys).copied()
}

/// The filters of a route, in the order in which they see its requests.
#[derive(Clone, Default)]
pub(super) struct FilterChain {
    /// The built-in filters that do anything on this route, by name.
    built_in: BTreeMap<&'static str, Arc<dyn BuiltInFilter>>,
    named: Vec<NamedFilter>,
    pub(super) compression: Option<Arc<Compression>>,
}

/// A built-in filter that does nothing adds nothing, so that a new one leaves the fingerprints of other routes as they are.
impl StableHash for FilterChain {
    fn feed(&self, hasher: &mut StableHasher) {
        let Self { built_in, named, compression } = self;
        hasher.list(built_in.iter().map(|(name, filter)| (*name, &**filter)));
        (named, compression).feed(hasher);
    }
}

impl FilterChain {
    /// Whether the gateway itself answers.
    pub(super) fn has_answer(&self) -> bool {
        self.built_in.contains_key(answer::FILTER.name())
    }

    /// The same filters as far as they fit an endpoint of the gateway's own, which answers by this filter: no
    /// authentication, maintenance or filters of the program.
    pub(super) fn for_endpoint(&self, answer: impl BuiltInFilter) -> Self {
        let mut built_in = self.built_in.clone();
        built_in.remove(authentication::FILTER.name());
        built_in.remove(maintenance::FILTER.name());
        built_in.insert(answer::FILTER.name(), Arc::new(answer));
        Self { built_in, named: Vec::new(), compression: self.compression.clone() }
    }

    /// Whether upstreams receive the user id or a claim.
    pub(super) fn upstream_knows_user(&self) -> bool {
        let headers = self.built_in::<HeadersFilter>();
        headers.is_some_and(|headers| headers.request.name_the_user())
    }

    /// Pages of which origins may open WebSockets, where the route does not say.
    pub(super) fn websocket_origins(&self) -> Origins {
        match self.built_in::<CorsFilter>() {
            Some(cors) => Origins::OfCors(cors.origins().into()),
            None => Origins::Same,
        }
    }

    /// What a request needs to be admitted, if it needs anything.
    pub(super) fn requirement(&self) -> Option<&Arc<Requirement>> {
        Some(&self.built_in::<AuthenticationFilter>()?.requirement)
    }

    /// The built-in filter of this type, where it does anything on this route.
    fn built_in<F: BuiltInFilter>(&self) -> Option<&F> {
        self.built_in.values().find_map(|filter| downcast(&**filter))
    }

    /// The filters, in the order in which they see requests. Responses are seen in reverse: what
    /// the file says of header fields comes last.
    pub(super) fn filters(&self, env: &CompileEnv<'_>) -> ChainFilters {
        let mut filters: Vec<Arc<dyn Filter>> = Vec::new();
        let mut names: Vec<Option<Arc<str>>> = Vec::new();
        let mut origin_check_at = 0;
        for step in ORDER {
            match step {
                Step::BuiltIn(filter) => {
                    let compiled = self.built_in.get(filter.name());
                    filters.extend(compiled.map(|filter| Arc::clone(filter) as Arc<dyn Filter>));
                }
                Step::OriginCheck => origin_check_at = filters.len(),
                Step::Program(phase) => {
                    let global = env.filters.global_filters().iter();
                    filters.extend(global.filter(|filter| filter.phase() == *phase).cloned());
                    names.resize(filters.len(), None);
                    let named = self.named.iter().filter(|named| named.filter.phase() == *phase);
                    for NamedFilter { name, filter, .. } in named {
                        filters.push(Arc::clone(filter));
                        names.push(Some(Arc::clone(name)));
                    }
                }
            }
        }
        names.resize(filters.len(), None);
        ChainFilters { filters: filters.into(), names: names.into(), origin_check_at }
    }
}

/// A route's filters, and beside each the name that the file uses it by.
pub(super) struct ChainFilters {
    pub(super) filters: Box<[Arc<dyn Filter>]>,
    pub(super) names: Box<[Option<Arc<str>>]>,
    /// Before which of them the `Origin` of handshakes is checked.
    pub(super) origin_check_at: usize,
}

impl Compiler<'_> {
    /// What holds where a route does not say otherwise.
    pub(super) fn default_chain(&mut self) -> FilterChain {
        let config = self.config;
        let built_in = built_in_filters()
            .filter_map(|filter| Some((filter.name(), (filter.for_all)(self)?)))
            .collect();
        FilterChain {
            built_in,
            named: self.named_filters(&config.filters, "", "filters"),
            compression: self.compression(config.compression.as_ref(), "compression"),
        }
    }

    /// A route's own over the defaults.
    pub(super) fn chain(&mut self, route: &RouteScope<'_>, defaults: &FilterChain) -> FilterChain {
        let written = route.written;
        let built_in = built_in_filters()
            .filter_map(|filter| {
                let inherited = defaults.built_in.get(filter.name()).cloned();
                Some((filter.name(), (filter.for_route)(self, route, inherited)?))
            })
            .collect();
        let own = self.named_filters(&written.filters, &written.name, &route.path_of("filters"));
        FilterChain {
            built_in,
            named: defaults.named.iter().cloned().chain(own).collect(),
            compression: match &written.compression {
                Some(setting) => self.compression(Some(setting), &route.path_of("compression")),
                None => defaults.compression.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documentation of [`Phase`] names the steps in their order.
    #[test]
    fn documented_order_of_filters_is_the_one_that_holds() {
        let source = include_str!("../../filter/mod.rs");
        let (_, documented) = source.split_once("/// The order is: ").unwrap();
        let (mut rest, _) = documented.split_once("#[derive").unwrap();
        for step in ORDER {
            let name = match step {
                Step::BuiltIn(filter) => format!("`{}", filter.name()),
                Step::OriginCheck => "`Origin`".to_owned(),
                Step::Program(phase) => format!("Phase::{phase:?}"),
            };
            let (_, behind) = rest.split_once(&name).unwrap_or_else(|| panic!("{name} in {rest}"));
            rest = behind;
        }
    }
}
