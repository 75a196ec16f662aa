//! Metrics of your own: requests and errors by tenant, as a page for Prometheus.
//!
//! `cargo run --example tenant_metrics -- run --config examples/tenant_metrics.yaml`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tidegate::filter::{self, Filter, Flow, Outcome, Phase, Reply, Request, SettingsError};
use tidegate::http::{HeaderValue, StatusCode, header};
use tidegate::{async_trait, schemars};

/// Counts requests by the tenant that a header names.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct TenantMetrics {
    /// The header with the tenant's name.
    header: String,
    /// The tenants. Others count as `other`: a label must not have as many values as clients please.
    tenants: BTreeSet<String>,
}

/// Answers with the counters, in the text format of Prometheus.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct TenantMetricsPage {
    /// The addresses that may read it; others get 404.
    clients: Vec<IpAddr>,
}

/// What outlives a reload: `main` makes one, and both filters share it.
#[derive(Default)]
struct Counters(Mutex<BTreeMap<String, Counter>>);

#[derive(Default)]
struct Counter {
    requests: u64,
    errors: u64,
}

impl Counters {
    fn count(&self, tenant: &str, is_error: bool) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = counters.entry(tenant.to_owned()).or_default();
        counter.requests += 1;
        counter.errors += u64::from(is_error);
    }

    fn page(&self) -> String {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut requests, mut errors) = (String::new(), String::new());
        for (tenant, counter) in counters.iter() {
            let _ = writeln!(
                requests,
                "tenant_requests_total{{tenant={tenant:?}}} {}",
                counter.requests
            );
            let _ = writeln!(errors, "tenant_errors_total{{tenant={tenant:?}}} {}", counter.errors);
        }
        format!(
            "# TYPE tenant_requests_total counter\n{requests}# TYPE tenant_errors_total counter\n{errors}"
        )
    }
}

struct CountFilter {
    settings: TenantMetrics,
    counters: Arc<Counters>,
}

#[async_trait]
impl Filter for CountFilter {
    /// Requests that a rate limit refuses count too.
    fn phase(&self) -> Phase {
        Phase::BeforeLimits
    }

    fn describe(&self) -> String {
        format!("counts {} tenants", self.settings.tenants.len())
    }

    fn on_end(&self, outcome: &Outcome<'_>) {
        let named = outcome.request.headers.get(&self.settings.header);
        let named = named.and_then(|name| name.to_str().ok()).unwrap_or_default();
        let known = self.settings.tenants.get(named).map_or("other", String::as_str);
        self.counters.count(known, outcome.status >= 500);
    }
}

struct PageFilter {
    clients: Vec<IpAddr>,
    counters: Arc<Counters>,
}

#[async_trait]
impl Filter for PageFilter {
    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
        let client = request.exchange().client_address();
        if !client.is_some_and(|address| self.clients.contains(&address)) {
            let reply = Reply::error(StatusCode::NOT_FOUND, "not_found", "there is nothing here");
            return Ok(Flow::Respond(reply));
        }
        let text = HeaderValue::from_static("text/plain; version=0.0.4");
        let reply = Reply::new(StatusCode::OK).header(header::CONTENT_TYPE, text);
        Ok(Flow::Respond(reply.body(self.counters.page())))
    }
}

fn main() -> std::process::ExitCode {
    let counters = Arc::new(Counters::default());
    tidegate::cli::main_with(|gateway| {
        let (counted, shown) = (Arc::clone(&counters), Arc::clone(&counters));
        gateway
            .register("tenant_metrics", move |settings: TenantMetrics| {
                if let Err(error) = settings.header.parse::<tidegate::http::HeaderName>() {
                    return Err(SettingsError::at("header", error));
                }
                Ok(CountFilter { settings, counters: Arc::clone(&counted) })
            })
            .register("tenant_metrics_page", move |settings: TenantMetricsPage| {
                Ok(PageFilter { clients: settings.clients, counters: Arc::clone(&shown) })
            })
    })
}
