//! Upstreams with several endpoints, for tests of balancing and health checks. It does not know how an endpoint is
//! selected.

use super::{Config, Gateway, Upstream, respond};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// A configuration whose upstream `both` has these endpoints and lines.
pub fn pool(endpoints: &[&Upstream], lines: &[&str]) -> Config {
    let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address()).collect();
    let config = Config::new().upstream("both", &addresses);
    let config = lines.iter().fold(config, |config, line| config.speaking(line));
    config.route("all", "path_prefix: /", "both")
}

/// The bodies of this number of responses, concatenated.
pub async fn bodies(gateway: &Gateway, count: usize, fields: &[&str]) -> String {
    let mut said = String::new();
    for _ in 0..count {
        said += &gateway.get("/", fields).await.text();
    }
    said
}

/// An upstream that answers with its name and a status that a test can change.
pub async fn with_changeable_status(name: &'static str) -> (Upstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let mood = Arc::clone(&status);
    let upstream = Upstream::answering(move |_| {
        let status = mood.load(Ordering::Relaxed);
        respond(&format!("{status} Mood"), &[], name)
    })
    .await;
    (upstream, status)
}
