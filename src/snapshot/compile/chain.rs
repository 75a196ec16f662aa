//! Collects the filters of a route and puts them into their order. It knows nothing of what a filter does.

use super::answer::Answer;
use super::{CompileEnv, Compiler};
use crate::compression::Compression;
use crate::filter::{
    CorsFilter, Filter, HeadersFilter, MaintenanceFilter, RateLimitFilter, UserIdFilter,
};
use crate::routing::Rule;
use crate::websocket::Origins;
use std::sync::Arc;
use tidegate_config as config;
use tidegate_http::stable_hash;
use tidegate_http::template::Variable;

/// What stands on the way of a route's requests.
#[derive(Clone, Default)]
pub(super) struct Chain {
    headers: Arc<HeadersFilter>,
    user_id: Option<Arc<UserIdFilter>>,
    cors: Option<Arc<CorsFilter>>,
    maintenance: Option<Arc<MaintenanceFilter>>,
    rate_limits: Option<Arc<RateLimitFilter>>,
    answer: Option<Answer>,
    pub(super) compression: Option<Arc<Compression>>,
}

stable_hash!(Chain { headers, user_id, cors, maintenance, rate_limits, answer, compression });

impl Chain {
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
    pub(super) fn filters(&self, env: &CompileEnv<'_>) -> Box<[Arc<dyn Filter>]> {
        let mut filters: Vec<Arc<dyn Filter>> = Vec::new();
        if !self.headers.is_empty() {
            filters.push(Arc::clone(&self.headers) as _);
        }
        filters.extend(self.user_id.iter().map(|filter| Arc::clone(filter) as _));
        filters.extend(self.cors.iter().map(|filter| Arc::clone(filter) as _));
        filters.extend(self.maintenance.iter().map(|filter| Arc::clone(filter) as _));
        filters.extend(self.rate_limits.iter().map(|filter| Arc::clone(filter) as _));
        filters.extend(env.filters.iter().cloned());
        filters.extend(self.answer.iter().map(Answer::filter));
        filters.into()
    }
}

impl Compiler<'_> {
    /// What holds where a route does not say otherwise.
    pub(super) fn default_chain(&mut self) -> Chain {
        let config = self.config;
        Chain {
            headers: Arc::new(self.headers(&config.headers, &HeadersFilter::default(), "headers")),
            user_id: self.user_id(),
            cors: self.cors(config.cors.as_ref(), "cors"),
            maintenance: self.maintenance(config.maintenance.as_ref()),
            rate_limits: self.rate_limits(&config.rate_limits, "", "rate_limits"),
            answer: None,
            compression: self.compression(config.compression.as_ref(), "compression"),
        }
    }

    /// A route's own over the defaults.
    pub(super) fn chain(
        &mut self,
        written: &config::Route,
        defaults: &Chain,
        rule: &Rule,
        at: &str,
    ) -> Chain {
        let headers = format!("{at}.headers");
        Chain {
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
            answer: self.answer(written, rule, at),
            compression: match &written.compression {
                Some(setting) => self.compression(Some(setting), &format!("{at}.compression")),
                None => defaults.compression.clone(),
            },
        }
    }
}
