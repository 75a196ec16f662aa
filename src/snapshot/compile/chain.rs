//! Collects the filters of a route and puts them into their order. It knows nothing of what a filter does.

use super::answer::RouteAnswer;
use super::filters::NamedFilter;
use super::{CompileEnv, Compiler};
use crate::compression::Compression;
use crate::filter::{
    AuthenticationFilter, BuiltIn, ClientsFilter, CorsFilter, Filter, HeadersFilter,
    MaintenanceFilter, ORDER, RateLimitFilter, Step, UserIdFilter,
};
use crate::routing::Rule;
use crate::websocket::Origins;
use std::sync::Arc;
use tidegate_config as config;
use tidegate_http::stable_hash;
use tidegate_http::template::Variable;

/// The filters of a route, in the order in which they see its requests.
#[derive(Clone, Default)]
pub(super) struct FilterChain {
    headers: Arc<HeadersFilter>,
    clients: Option<Arc<ClientsFilter>>,
    user_id: Option<Arc<UserIdFilter>>,
    cors: Option<Arc<CorsFilter>>,
    authentication: Option<Arc<AuthenticationFilter>>,
    maintenance: Option<Arc<MaintenanceFilter>>,
    rate_limits: Option<Arc<RateLimitFilter>>,
    named: Vec<NamedFilter>,
    answer: Option<RouteAnswer>,
    pub(super) compression: Option<Arc<Compression>>,
}

stable_hash!(FilterChain {
    headers,
    clients,
    user_id,
    cors,
    authentication,
    maintenance,
    rate_limits,
    named,
    answer,
    compression,
});

impl FilterChain {
    /// Whether the gateway itself answers.
    pub(super) fn has_answer(&self) -> bool {
        self.answer.is_some()
    }

    /// The same filters as far as they fit an endpoint of the gateway's own, which answers by this filter: no
    /// authentication, maintenance or filters of the program.
    pub(super) fn for_endpoint(&self, answer: RouteAnswer) -> Self {
        Self {
            authentication: None,
            maintenance: None,
            named: Vec::new(),
            answer: Some(answer),
            ..self.clone()
        }
    }

    /// Whether upstreams receive the user id.
    pub(super) fn uses_user_id(&self) -> bool {
        self.headers.request.uses(Variable::UserId)
    }

    /// Pages of which origins may open WebSockets, where the route does not say.
    pub(super) fn websocket_origins(&self) -> Origins {
        match &self.cors {
            Some(cors) => Origins::OfCors(cors.origins().into()),
            None => Origins::Same,
        }
    }

    /// The filters, in the order in which they see requests. Responses are seen in reverse: what
    /// the file says of header fields comes last.
    pub(super) fn filters(&self, env: &CompileEnv<'_>) -> ChainFilters {
        let mut filters: Vec<Arc<dyn Filter>> = Vec::new();
        let mut names: Vec<Option<Arc<str>>> = Vec::new();
        let mut origin_check_at = 0;
        for step in &ORDER {
            match step {
                Step::BuiltIn(filter) => filters.extend(self.built_in(*filter)),
                Step::OriginCheck => origin_check_at = filters.len(),
                Step::Program(phase) => {
                    let everywhere = env.filters.everywhere().iter();
                    filters.extend(everywhere.filter(|filter| filter.phase() == *phase).cloned());
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

    /// A built-in filter, where it does anything on this route.
    fn built_in(&self, filter: BuiltIn) -> Option<Arc<dyn Filter>> {
        match filter {
            BuiltIn::Headers => (!self.headers.is_empty()).then(|| Arc::clone(&self.headers) as _),
            BuiltIn::Clients => self.clients.clone().map(|filter| filter as _),
            BuiltIn::Authentication => self.authentication.clone().map(|filter| filter as _),
            BuiltIn::UserId => self.user_id.clone().map(|filter| filter as _),
            BuiltIn::Cors => self.cors.clone().map(|filter| filter as _),
            BuiltIn::Maintenance => self.maintenance.clone().map(|filter| filter as _),
            BuiltIn::RateLimits => self.rate_limits.clone().map(|filter| filter as _),
            BuiltIn::Answer => self.answer.as_ref().map(RouteAnswer::filter),
        }
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
        let user_id = self.user_id();
        FilterChain {
            headers: Arc::new(self.headers(&config.headers, &HeadersFilter::default(), "headers")),
            clients: self.clients(None),
            authentication: self.require(config.require.as_ref(), user_id.as_ref(), "require"),
            user_id,
            cors: self.cors(config.cors.as_ref(), "cors"),
            maintenance: self.maintenance(config.maintenance.as_ref()),
            rate_limits: self.rate_limits(&config.rate_limits, "", "rate_limits"),
            named: self.named_filters(&config.filters, "", "filters"),
            answer: None,
            compression: self.compression(config.compression.as_ref(), "compression"),
        }
    }

    /// A route's own over the defaults.
    pub(super) fn chain(
        &mut self,
        written: &config::Route,
        defaults: &FilterChain,
        rule: &Rule,
        key_path: &str,
    ) -> FilterChain {
        let headers = format!("{key_path}.headers");
        let own =
            self.named_filters(&written.filters, &written.name, &format!("{key_path}.filters"));
        FilterChain {
            headers: Arc::new(self.headers(&written.headers, &defaults.headers, &headers)),
            clients: self.clients(Some(&written.clients)),
            authentication: match &written.require {
                Some(setting) => self.require(
                    Some(setting),
                    defaults.user_id.as_ref(),
                    &format!("{key_path}.require"),
                ),
                None => defaults.authentication.clone(),
            },
            user_id: defaults.user_id.clone(),
            cors: match &written.cors {
                Some(policy) => self.cors(Some(policy), &format!("{key_path}.cors")),
                None => defaults.cors.clone(),
            },
            maintenance: match &written.maintenance {
                Some(setting) => self.maintenance(Some(setting)),
                None => defaults.maintenance.clone(),
            },
            rate_limits: match &written.rate_limits {
                Some(limits) => {
                    self.rate_limits(limits, &written.name, &format!("{key_path}.rate_limits"))
                }
                None => defaults.rate_limits.clone(),
            },
            named: defaults.named.iter().cloned().chain(own).collect(),
            answer: self.fixed_answer(written, rule, key_path),
            compression: match &written.compression {
                Some(setting) => {
                    self.compression(Some(setting), &format!("{key_path}.compression"))
                }
                None => defaults.compression.clone(),
            },
        }
    }
}
