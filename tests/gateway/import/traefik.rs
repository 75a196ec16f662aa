//! Traefik's file provider: whole files, single lines, and route precedence.

use super::{Imported, comes_out_as_written, import};
use tidegate_testing::cli;

/// What the gateway says of a file with these routers, on lines from the third on, and a service
/// and some middlewares.
async fn routers(lines: &str) -> Imported {
    let text = format!(
        "http:
  routers:
{lines}
  services:
    one: {{loadBalancer: {{servers: [{{url: \"http://127.0.0.1:4001\"}}]}}}}
    two: {{loadBalancer: {{servers: [{{url: \"http://127.0.0.1:4002\"}}]}}}}
    none: {{loadBalancer: {{servers: []}}}}
    shares: {{weighted: {{services: [{{name: one, weight: 1}}]}}}}
  middlewares:
    basic: {{basicAuth: {{users: [a]}}}}
    all: {{chain: {{middlewares: [basic]}}}}
    round: {{chain: {{middlewares: [round]}}}}
    other: {{stripPrefix: {{prefixes: [/other]}}}}
"
    );
    import("traefik", "dynamic.yml", &text).await
}

/// The route that takes a request.
async fn taken(imported: &Imported, url: &str, fields: &[&str]) -> String {
    let file = imported.folder.path().join("tidegate.yaml");
    std::fs::write(file, &imported.run.stdout).expect("a file");
    let mut arguments = vec!["explain", "--config", "tidegate.yaml", url];
    arguments.extend(fields.iter().flat_map(|field| ["-H", *field]));
    let run = cli(imported.folder.path(), &arguments, &[]).await;
    let line = run.stdout.lines().find_map(|line| line.strip_prefix("as        http://127.0.0.1:"));
    line.unwrap_or(&run.stdout).split('/').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn shop_in_yaml_is_imported() {
    comes_out_as_written("traefik", "shop.traefik.yml", 3).await;
}

#[tokio::test]
async fn shop_in_toml_is_imported() {
    comes_out_as_written("traefik", "shop.traefik.toml", 3).await;
}

#[tokio::test]
async fn longest_rule_or_highest_priority_wins() {
    let imported = routers(
        "    host: {rule: \"Host(`a-rather-long-name.example.com`)\", service: one}
    path: {rule: \"PathPrefix(`/api`)\", service: two}
    deep: {rule: \"PathPrefix(`/deep/down`)\", service: two, priority: 20}
    wide: {rule: \"PathPrefix(`/deep`)\", service: one, priority: 21}
    beta: {rule: \"Header(`X-Beta`, `1`)\", service: one, priority: 1000}
    rest: {rule: \"PathPrefix(`/`)\", service: two}",
    )
    .await;
    assert_eq!(imported.run.code, Some(0), "{}", imported.run.all());
    imported.is_good().await;
    imported.says(5, "no request reaches this router: the rule in line 6");
    for (url, fields, port) in [
        ("http://a-rather-long-name.example.com/api/x", &[][..], "4001"),
        ("http://a-rather-long-name.example.com/", &[], "4001"),
        ("http://b/api/x", &[], "4002"),
        ("http://b/api/x", &["X-Beta: 1"], "4001"),
        ("http://a-rather-long-name.example.com/api", &["X-Beta: 1"], "4001"),
        ("http://b/deep/down/x", &[], "4001"),
        ("http://b/x", &[], "4002"),
        ("http://b/x", &["X-Beta: 1"], "4001"),
    ] {
        assert_eq!(taken(&imported, url, fields).await, port, "{url} {fields:?}");
    }
}

#[tokio::test]
async fn rule_alternatives_become_routes() {
    let rule = "(Host(`a.test`) || Host(`b.test`)) && (Path(`/x`) || PathPrefix(`/y/`)) \
                && (Method(`GET`) || Method(`PUT`))";
    let imported = routers(&format!("    r: {{rule: \"{rule}\", service: one}}")).await;
    assert_eq!(imported.run.code, Some(0), "{}", imported.run.all());
    let matches: Vec<_> = imported
        .run
        .stdout
        .lines()
        .filter(|line| line.contains("hosts: [a.test, b.test]"))
        .collect();
    assert_eq!(matches.len(), 2, "{}", imported.run.stdout);
    assert_eq!(imported.run.stdout.matches("methods: [GET, PUT]").count(), 2);
}

#[tokio::test]
async fn each_unsupported_line_is_reported() {
    for (line, words) in [
        ("r: {rule: \"PathRegexp(`^/a[0-9]`)\", service: one}", "`PathRegexp(^/a[0-9])`"),
        ("r: {rule: \"Host(`a`) && ClientIP(`10.0.0.1`)\", service: one}", "`ClientIP(10.0.0.1)`"),
        ("r: {rule: \"!Host(`a`)\", service: one}", "`!Host(a)`"),
        ("r: {rule: \"Host(`a`\", service: one}", "is not a valid rule"),
        (
            "r: {rule: \"Host(`a`)\", service: gone}",
            "the service `gone` is not defined in this file",
        ),
        ("r: {rule: \"Host(`a`)\", service: one, observability: {}}", "`observability`"),
    ] {
        let imported =
            routers(&format!("    {line}\n    ok: {{rule: \"Path(`/ok`)\", service: one}}")).await;
        assert_eq!(imported.run.code, Some(3), "{line}\n{}", imported.run.all());
        imported.says(3, words);
        imported.is_good().await;
    }
    for service in ["shares", "none"] {
        let line = format!("    r: {{rule: \"Host(`a`)\", service: {service}}}");
        assert_eq!(routers(&line).await.run.code, Some(3), "{service}");
    }
}

#[tokio::test]
async fn router_with_a_guard_is_not_opened() {
    for middleware in ["basic", "all", "round", "unknown", "auth@docker", "basic@file"] {
        let line = format!(
            "    r: {{rule: \"Host(`a`)\", service: one, middlewares: [other, {middleware}]}}"
        );
        let imported = routers(&line).await;
        assert_eq!(imported.run.code, Some(3), "{}", imported.run.all());
        assert!(imported.run.stdout.contains("status: 403"), "{}", imported.run.stdout);
        assert!(!imported.run.stdout.contains("upstream: one"), "{}", imported.run.stdout);
    }
}

/// What a middleware named `guard` becomes, on line 4.
async fn guarded(middleware: &str, middlewares: &str) -> Imported {
    let folder = tempfile::TempDir::new().expect("a folder");
    let hash = "$2y$10$abcdefghijklmnopqrstuuOa0n1WEz2P4gVxZQIwZ3q6HPCxSWzSO";
    std::fs::write(folder.path().join("good"), format!("ann:{hash}\n")).expect("a file");
    std::fs::write(folder.path().join("old"), "ann:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\n")
        .expect("a file");
    let text = format!(
        "http:
  routers: {{r: {{rule: \"PathPrefix(`/a`)\", service: one, middlewares: [{middlewares}]}}}}
  middlewares:
    guard: {{{middleware}}}
    lan: {{ipAllowList: {{sourceRange: [10.0.0.0/8]}}}}
    strip: {{stripPrefix: {{prefixes: [/a]}}}}
  services:
    one: {{loadBalancer: {{servers: [{{url: \"http://127.0.0.1:4001\"}}]}}}}
"
    );
    std::fs::write(folder.path().join("dynamic.yml"), text).expect("a file");
    let run = cli(folder.path(), &["import", "traefik", "dynamic.yml"], &[]).await;
    Imported { run, folder }
}

#[tokio::test]
async fn guard_with_the_same_meaning_is_imported() {
    let forward = "forwardAuth: {address: \"http://127.0.0.1:4010/check\", trustForwardHeader: true, \
                   authRequestHeaders: [cookie], authResponseHeaders: [X-User-Id]}";
    let forwarded = "auth-service: {forward: {url: http://127.0.0.1:4010/check, send: [cookie], \
                     take: [X-User-Id], timeout: 30s}}";
    for (middleware, middlewares, parts) in [
        (
            "basicAuth: {usersFile: good, realm: Staff, removeHeader: true}",
            "guard",
            vec!["passwords: {basic: {file: good, realm: Staff}}", "require: passwords"],
        ),
        (
            "basicAuth: {usersFile: good}",
            "guard, strip",
            vec!["{basic: {file: good, realm: traefik, forward: on}}", "prefix: /"],
        ),
        (
            forward,
            "lan, guard, strip",
            vec![forwarded, "require: auth-service", "clients: {allow: [10.0.0.0/8]}"],
        ),
        (
            "ipWhiteList: {sourceRange: [192.0.2.0/24, \"::1\"]}",
            "guard",
            vec!["clients: {allow: [192.0.2.0/24, \"::1\"]}"],
        ),
    ] {
        let imported = guarded(middleware, middlewares).await;
        assert_eq!(imported.run.code, Some(0), "{middleware}\n{}", imported.run.all());
        for part in parts.into_iter().chain(["upstream: one"]) {
            assert!(imported.has_settings(part), "{middleware}\n{part}\n{}", imported.run.stdout);
        }
        imported.is_good().await;
    }
}

#[tokio::test]
async fn guard_with_another_meaning_closes_its_router_and_says_why() {
    let forward = "forwardAuth: {address: \"http://127.0.0.1:4010/\"";
    for (middleware, middlewares, reason) in [
        ("basicAuth: {users: [a]}", "guard", "put its `users` into a file of `basic.file`"),
        (
            "basicAuth: {usersFile: old}",
            "guard",
            "1 of the 1 hashes in `old` are neither bcrypt nor Argon2",
        ),
        ("basicAuth: {usersFile: good, headerField: X-User}", "guard", "it has `headerField`"),
        ("digestAuth: {usersFile: good}", "guard", "the access control `digestAuth`"),
        (
            &format!("{forward}, authResponseHeadersRegex: \"^X-\"}}"),
            "guard",
            "it has `authResponseHeadersRegex`",
        ),
        (
            &format!("{forward}, tls: {{insecureSkipVerify: true}}}}"),
            "guard",
            "it has `insecureSkipVerify`",
        ),
        ("forwardAuth: {address: \"auth.test\"}", "guard", "its `address` is no URL of HTTP"),
        (
            &format!("{forward}}}"),
            "strip, guard",
            "it sees the path that another middleware has changed",
        ),
        (
            "ipAllowList: {sourceRange: [10.0.0.1], ipStrategy: {depth: 1}}",
            "guard",
            "it has `ipStrategy`",
        ),
        ("ipAllowList: {sourceRange: [10.0.0.1]}", "lan, guard", "is not the only one"),
    ] {
        let imported = guarded(middleware, middlewares).await;
        assert_eq!(imported.run.code, Some(3), "{middleware}\n{}", imported.run.all());
        imported.says(4, reason);
        assert!(imported.run.stdout.contains("status: 403"), "{}", imported.run.stdout);
        assert!(!imported.run.stdout.contains("upstream: one"), "{}", imported.run.stdout);
        imported.is_good().await;
    }
}

#[tokio::test]
async fn invalid_traefik_file_is_refused() {
    for (name, text, place) in [
        ("a.yml", "http: [", "a.yml:"),
        ("a.yml", "tcp: {}", "a.yml:1: error: the file has no `http` section"),
        ("a.toml", "[http\n", "a.toml:1: error: "),
        ("a.toml", "[http.routers]\na = \n", "a.toml:2: error: "),
        ("a.yml", "", "a.yml:1: error: the file has no `http` section"),
    ] {
        let imported = import("traefik", name, text).await;
        assert_eq!(imported.run.code, Some(1), "{text}\n{}", imported.run.all());
        assert!(imported.run.stderr.contains(place), "{text}\n{}", imported.run.stderr);
    }
    for text in ["[".repeat(100_000), "http: {routers: 1, services: [], middlewares: x}".to_owned()]
    {
        let imported = import("traefik", "a.yml", &text).await;
        assert!(imported.run.code.is_some() && !imported.run.stderr.contains("panicked"));
    }
    let imported = import("traefik", "a.toml", &format!("a = {}", "[".repeat(100_000))).await;
    assert_eq!(imported.run.code, Some(1));
}
