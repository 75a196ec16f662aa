//! The recipes of docs/cookbook.md are the programs of `examples/`, and do what the page says.

use super::custom_filters::example;
use super::documents::{HERE, blocks};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use tidegate_testing::{Ready, Upstream, free_port, ok, respond, until};

/// The recipes, by the names of their files.
const RECIPES: [&str; 4] = ["api_keys", "signed_webhook", "tenant_metrics", "user_lookup"];

#[test]
fn recipes_of_the_cookbook_are_the_files_of_examples() {
    let blocks = blocks();
    let page: Vec<_> = blocks.iter().filter(|block| block.page == "docs/cookbook.md").collect();
    for file in RECIPES.iter().flat_map(|name| [format!("{name}.rs"), format!("{name}.yaml")]) {
        let text = std::fs::read_to_string(Path::new(HERE).join("examples").join(&file));
        let text = text.expect("an example");
        let is_shown = page.iter().any(|block| block.text.trim() == text.trim());
        assert!(is_shown, "docs/cookbook.md does not show examples/{file} as it is");
    }
    assert_eq!(page.len(), RECIPES.len() * 2);
}

/// A recipe's program with its configuration, at other ports.
struct Recipe {
    _program: Ready,
    folder: TempDir,
    port: u16,
    client: reqwest::Client,
}

impl Recipe {
    async fn start(name: &str, services: &[(&str, &Upstream)]) -> Self {
        let (folder, port) = (TempDir::new().expect("a folder"), free_port());
        let yaml = std::fs::read_to_string(format!("{HERE}/examples/{name}.yaml"));
        let mut yaml = yaml.expect("the recipe's configuration");
        yaml = yaml.replace("127.0.0.1:3000", &format!("127.0.0.1:{port}"));
        for (address, service) in services {
            assert!(yaml.contains(address), "{yaml}");
            yaml = yaml.replace(address, &service.address().to_string());
        }
        std::fs::write(folder.path().join("tidegate.yaml"), yaml).expect("the file");
        let mut program = Command::new(example(name));
        program.current_dir(folder.path()).args(["run", "--config", "tidegate.yaml"]);
        let client = reqwest::Client::new();
        Self { _program: Ready::wait(program).await, folder, port, client }
    }

    async fn get(&self, path: &str, header: (&str, &str)) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = self.client.get(url).header(header.0, header.1).send().await;
        let answer = answer.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }
}

#[tokio::test]
async fn user_lookup_asks_the_service_once_for_each_token() {
    let api = Upstream::saying("hello").await;
    let users = Upstream::answering(|request| match request.head.get("authorization") {
        Some("Bearer of-shop") => ok("shop"),
        _ => respond("401 Unauthorized", &[], ""),
    })
    .await;
    let services = [("127.0.0.1:4000", &api), ("127.0.0.1:4100", &users)];
    let recipe = Recipe::start("user_lookup", &services).await;

    let get = async |token: &str| {
        recipe.get("/api/orders", ("authorization", &format!("Bearer {token}"))).await
    };
    for _ in 0..3 {
        assert_eq!(get("of-shop").await, (200, "hello".to_owned()));
        let (status, body) = get("of-nobody").await;
        assert!(status == 401 && body.contains("bad_token"), "{status} {body}");
    }
    assert_eq!(users.requests().len(), 2, "one for each token");
    assert_eq!(api.request(0).await.head.get("x-user"), Some("shop"));
    let (status, body) = recipe.get("/api/orders", ("accept", "application/json")).await;
    assert!(status == 401 && body.contains("no_token"), "{status} {body}");

    // The cache survives a reload, and an outage of the service is no error for tokens in it.
    drop(users);
    let file = recipe.folder.path().join("tidegate.yaml");
    let yaml = std::fs::read_to_string(&file).expect("the file");
    let yaml = yaml
        .replace("path_prefix: /api", "path_prefix: /")
        .replace("keep_seconds: 30", "keep_seconds: 300");
    std::fs::write(&file, yaml).expect("the file");
    let with_token = ("authorization", "Bearer of-shop");
    until("the new route", async || recipe.get("/other", with_token).await.0 == 200).await;
    let (status, body) = get("new").await;
    assert!(status == 503 && body.contains("lookup_failed"), "{status} {body}");
}

#[tokio::test]
async fn tenant_metrics_count_requests_of_known_tenants() {
    let api = Upstream::saying("hello").await;
    let recipe = Recipe::start("tenant_metrics", &[("127.0.0.1:4000", &api)]).await;
    for tenant in ["shop", "shop", "bank", "made-up-1", "made-up-2"] {
        assert_eq!(recipe.get("/api", ("x-tenant", tenant)).await.0, 200);
    }
    // A request counts when its response has been sent, which its client may see before.
    let wanted = [
        "# TYPE tenant_requests_total counter",
        "tenant_requests_total{tenant=\"bank\"} 1",
        "tenant_requests_total{tenant=\"other\"} 2",
        "tenant_requests_total{tenant=\"shop\"} 2",
        "# TYPE tenant_errors_total counter",
        "tenant_errors_total{tenant=\"bank\"} 0",
        "tenant_errors_total{tenant=\"other\"} 0",
        "tenant_errors_total{tenant=\"shop\"} 0",
    ];
    until("all counted", async || {
        let (status, page) = recipe.get("/tenant-metrics", ("accept", "*/*")).await;
        assert_eq!(status, 200, "{page}");
        page.lines().eq(wanted)
    })
    .await;
}

#[tokio::test]
async fn signed_webhook_passes_only_bodies_with_the_right_signature() {
    let deploy = Upstream::saying("deployed").await;
    let recipe = Recipe::start("signed_webhook", &[("127.0.0.1:4000", &deploy)]).await;
    let url = format!("http://127.0.0.1:{}/webhooks/github", recipe.port);
    let post = async |signature: Option<&str>, body: &str| {
        let mut request = recipe.client.post(&url).body(body.to_owned());
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", format!("sha256={signature}"));
        }
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"change-me");
    let sign = |body: &str| {
        let tag = ring::hmac::sign(&key, body.as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let body = r#"{"ref": "refs/heads/main"}"#;
    let right = sign(body);
    assert_eq!(post(Some(&right), body).await, (200, "deployed".to_owned()));
    assert_eq!(deploy.only_request().await.body, body.as_bytes());

    let long = "x".repeat(70_000);
    let (of_long, cut) = (sign(&long), right[..62].to_owned());
    let refused = [
        (None, body, 401, "bad_signature"),
        (Some(right.as_str()), "{}", 401, "bad_signature"),
        (Some(cut.as_str()), body, 401, "bad_signature"),
        (Some("zz"), body, 401, "bad_signature"),
        (Some(of_long.as_str()), long.as_str(), 413, "body_too_large"),
    ];
    for (signature, body, status, code) in refused {
        let (answered, text) = post(signature, body).await;
        assert!(answered == status && text.contains(code), "{signature:?}: {answered} {text}");
    }
    assert_eq!(deploy.requests().len(), 1, "no refused body reaches the upstream");
}
