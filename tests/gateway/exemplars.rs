//! Exemplars come from a request to Prometheus, as docker/compose.monitoring.yaml starts it.

use crate::metrics::Counted;
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tidegate_testing::{Config, Upstream, free_port, ok, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

struct Prometheus {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Prometheus {
    /// One that asks a gateway once a second, with the features that the compose file asks for.
    fn scraping(counted: &Counted) -> Self {
        let compose = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/compose.monitoring.yaml");
        let compose = std::fs::read_to_string(compose).expect("a compose file");
        let features = compose
            .split([' ', '[', ']', ',', '"'])
            .filter(|word| word.starts_with("--enable-feature"));
        let (folder, port) = (TempDir::new().expect("a folder"), free_port());
        let target = counted.admin();
        let config = format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs: [{{job_name: tidegate, static_configs: [{{targets: [\"{target}\"]}}]}}]\n"
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("a file");
        let process = Command::new("prometheus")
            .args(features)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).expect("a file"))
            .spawn()
            .expect("Prometheus: apt-get install prometheus");
        Self { process, port, folder }
    }

    /// What it says of a query; nothing while it does not answer, or answers that it is not ready.
    async fn asked(&mut self, query: &str) -> Value {
        if let Some(status) = self.process.try_wait().expect("a process") {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            panic!("Prometheus has gone, {status}: {}", log.unwrap_or_default());
        }
        let url = format!("http://127.0.0.1:{}/api/v1/{query}", self.port);
        let Ok(answer) = reqwest::get(url).await else { return Value::Null };
        answer.json::<Value>().await.map(|mut said| said["data"].take()).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn prometheus_keeps_the_traces_of_slow_requests() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let tracing = format!("tracing: {{otlp: {{endpoint: \"{nobody}\"}}}}");
    let counted = Counted::start(Config::to(&upstream).top(&tracing)).await;
    let mut prometheus = Prometheus::scraping(&counted);
    // It takes some seconds before it begins to ask.
    until("Prometheus asks the gateway", async || {
        prometheus.asked("query?query=up").await["result"][0]["value"][1] == "1"
    })
    .await;
    let parent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01");
    assert_eq!(counted.gateway.get("/", &[&parent]).await.status(), 200);
    let metric = "tidegate_request_duration_seconds_bucket";
    let query = format!("query_exemplars?query={metric}&start=0&end=4102444800");
    until("Prometheus has the exemplar", async || {
        prometheus.asked(&query).await[0]["exemplars"][0]["labels"]["trace_id"] == TRACE
    })
    .await;
}
