//! Compiles `cors` into its filter. It knows nothing of requests.

use super::built_in::{BuiltIn, compiled};
use super::{Compiler, duration_or_default, header_name, method};
use crate::filter::{self, CorsFilter};
use http::HeaderName;
use tidegate_config::{self as config, CorsPolicy, Spanned, defaults::cors};
use tidegate_http::origin::OriginPattern;

pub(super) const FILTER: BuiltIn = BuiltIn {
    keys: &["cors"],
    for_all: |compiler| compiled(compiler.cors(compiler.config.cors.as_ref(), "cors")),
    for_route: |compiler, route, inherited| match &route.written.cors {
        Some(policy) => compiled(compiler.cors(Some(policy), &route.path_of("cors"))),
        None => inherited,
    },
};

impl Compiler<'_> {
    /// The filter for a policy; without one, CORS is left to the upstream.
    fn cors(
        &mut self,
        written: Option<&Spanned<CorsPolicy>>,
        key_path: &str,
    ) -> Option<CorsFilter> {
        let written = written?;
        let policy = match &written.value {
            CorsPolicy::Policy(policy) => policy,
            CorsPolicy::Switch(switch) => {
                if switch.0 {
                    self.problems
                        .add(written.span, key_path, "`on` does not name the origins to allow")
                        .help("write `cors: {allow_origins: [\"https://app.example.com\"]}`");
                }
                return None;
            }
        };
        let origins: Vec<OriginPattern> = policy
            .allow_origins
            .iter()
            .filter_map(|origin| OriginPattern::parse(origin.as_str()))
            .collect();
        let credentials = policy.allow_credentials.as_ref();
        if let Some(credentials) = credentials.filter(|credentials| ***credentials)
            && origins.contains(&OriginPattern::Any)
        {
            self.problems
                .add(
                    credentials.span,
                    format!("{key_path}.allow_credentials"),
                    "`allow_credentials` cannot be combined with the origin `*`: every web site \
                     could act in the name of its visitors",
                )
                .help("list the origins, or remove `allow_credentials`");
        }
        let allow_headers = policy.allow_headers.as_deref();
        let any_header =
            allow_headers.is_none_or(|names| names.iter().any(|name| name.as_str() == "*"));
        let names = |written: &[config::HeaderName]| -> Vec<HeaderName> {
            written.iter().filter_map(header_name).collect()
        };
        let exposed = |written: &[Spanned<config::HeaderName>]| -> Vec<HeaderName> {
            written.iter().filter_map(|name| header_name(name)).collect()
        };
        Some(CorsFilter::new(filter::CorsPolicy {
            origins,
            methods: match &policy.allow_methods {
                Some(methods) => methods.iter().filter_map(|it| method(it)).collect(),
                None => cors::ALLOW_METHODS.iter().filter_map(|it| it.parse().ok()).collect(),
            },
            headers: if any_header { None } else { allow_headers.map(names) },
            expose: match policy.expose_headers.as_deref() {
                Some(written) => exposed(written),
                None => cors::EXPOSE_HEADERS.map(HeaderName::from_static).to_vec(),
            },
            credentials: credentials.map_or(cors::ALLOW_CREDENTIALS, |credentials| **credentials),
            max_age: duration_or_default(policy.max_age.as_ref(), cors::MAX_AGE).as_secs(),
            private_network: policy.allow_private_network.unwrap_or(cors::ALLOW_PRIVATE_NETWORK),
        }))
    }
}
