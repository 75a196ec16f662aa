//! Collects the filters of a route and puts them into their order. It knows nothing of what a filter does.

use super::answer::RouteAnswer;
use super::filters::NamedFilter;
use super::{CompileEnv, Compiler};
use crate::compression::Compression;
use crate::filter::{
    CorsFilter, Filter, HeadersFilter, MaintenanceFilter, Phase, RateLimitFilter, UserIdFilter,
};
use crate::routing::Rule;
use crate::websocket::Origins;
use std::sync::Arc;
use tidegate_config as config;
use tidegate_http::stable_hash;
use tidegate_http::template::Variable;

/// What stands on the way of a route's requests.
#[derive(Clone, Default)]
pub(super) struct FilterChain {
    headers: Arc<HeadersFilter>,
    user_id: Option<Arc<UserIdFilter>>,
    cors: Option<Arc<CorsFilter>>,
    maintenance: Option<Arc<MaintenanceFilter>>,
    rate_limits: Option<Arc<RateLimitFilter>>,
    named: Vec<NamedFilter>,
    answer: Option<RouteAnswer>,
    pub(super) compression: Option<Arc<Compression>>,
}

stable_hash!(FilterChain {
    headers,
    user_id,
    cors,
    maintenance,
    rate_limits,
    named,
    answer,
    compression,
});

impl FilterChain {
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

    /// Before which filter the `Origin` of handshakes is checked: the log of a refusal names the
    /// user, and no other filter sees what is refused.
    pub(super) fn origin_check_at(&self) -> usize {
        usize::from(!self.headers.is_empty()) + usize::from(self.user_id.is_some())
    }

    /// The filters, in the order in which they see requests. Responses are seen in reverse: what
    /// the file says of header fields comes last.
    pub(super) fn filters(&self, env: &CompileEnv<'_>) -> ChainFilters {
        let mut filters: Vec<Arc<dyn Filter>> = Vec::new();
        if !self.headers.is_empty() {
            filters.push(Arc::clone(&self.headers) as _);
        }
        filters.extend(self.user_id.iter().map(|filter| Arc::clone(filter) as _));
        filters.extend(self.cors.iter().map(|filter| Arc::clone(filter) as _));
        filters.extend(self.maintenance.iter().map(|filter| Arc::clone(filter) as _));
        let mut names = vec![None; filters.len()];
        let mut add_those_of = |phase: Phase, filters: &mut Vec<Arc<dyn Filter>>| {
            let everywhere = env.filters.everywhere();
            filters.extend(everywhere.iter().filter(|filter| filter.phase() == phase).cloned());
            names.resize(filters.len(), None);
            for named in self.named.iter().filter(|named| named.filter.phase() == phase) {
                filters.push(Arc::clone(&named.filter));
                names.push(Some(Arc::clone(&named.name)));
            }
        };
        add_those_of(Phase::BeforeLimits, &mut filters);
        filters.extend(self.rate_limits.iter().map(|filter| Arc::clone(filter) as _));
        add_those_of(Phase::AfterLimits, &mut filters);
        filters.extend(self.answer.iter().map(RouteAnswer::filter));
        names.resize(filters.len(), None);
        ChainFilters { filters: filters.into(), names: names.into() }
    }
}

/// A route's filters, and beside each the name that the file uses it by.
pub(super) struct ChainFilters {
    pub(super) filters: Box<[Arc<dyn Filter>]>,
    pub(super) names: Box<[Option<Arc<str>>]>,
}

impl Compiler<'_> {
    /// What holds where a route does not say otherwise.
    pub(super) fn default_chain(&mut self) -> FilterChain {
        let config = self.config;
        FilterChain {
            headers: Arc::new(self.headers(&config.headers, &HeadersFilter::default(), "headers")),
            user_id: self.user_id(),
            cors: self.cors(config.cors.as_ref(), "cors"),
            maintenance: self.maintenance(config.maintenance.as_ref()),
            rate_limits: self.rate_limits(&config.rate_limits, "", "rate_limits"),
            named: self.named_filters(&config.filters, "filters"),
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
        at: &str,
    ) -> FilterChain {
        let headers = format!("{at}.headers");
        let own = self.named_filters(&written.filters, &format!("{at}.filters"));
        FilterChain {
            headers: Arc::new(self.headers(&written.headers, &defaults.headers, &headers)),
            user_id: defaults.user_id.clone(),
            cors: match &written.cors {
                Some(policy) => self.cors(Some(policy), &format!("{at}.cors")),
                None => defaults.cors.clone(),
            },
            maintenance: match &written.maintenance {
                Some(setting) => self.maintenance(Some(setting)),
                None => defaults.maintenance.clone(),
            },
            rate_limits: match &written.rate_limits {
                Some(limits) => {
                    self.rate_limits(limits, &written.name, &format!("{at}.rate_limits"))
                }
                None => defaults.rate_limits.clone(),
            },
            named: defaults.named.iter().cloned().chain(own).collect(),
            answer: self.answer(written, rule, at),
            compression: match &written.compression {
                Some(setting) => self.compression(Some(setting), &format!("{at}.compression")),
                None => defaults.compression.clone(),
            },
        }
    }
}
