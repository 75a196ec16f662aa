//! nginx: whole files and single lines.

use super::{comes_out_as_written, import};

/// What the gateway says of a file that has just this server.
async fn server(inside: &str) -> super::Imported {
    let text = format!("server {{\nlisten 127.0.0.1:8080;\n{inside}\n}}\n");
    import("nginx", "site", &text).await
}

#[tokio::test]
async fn shop_configuration_is_imported() {
    comes_out_as_written("nginx", "shop.nginx.conf", 3).await;
}

#[tokio::test]
async fn complete_import_exits_0() {
    let all = server("location / { proxy_pass http://127.0.0.1:4000; proxy_redirect off; }").await;
    assert_eq!(all.run.code, Some(0), "{}", all.run.all());
    assert_eq!(all.run.stderr, "");
    all.is_good().await;
}

#[tokio::test]
async fn each_unsupported_line_is_reported() {
    for (line, words) in [
        ("frobnicate on;", "left out: the import does not support `frobnicate`"),
        ("location ~ \\.php$ { return 200; }", "left out: `location ~ \\.php$`"),
        ("location /a { limit_req zone=one; return 200; }", "left out: `limit_req zone=one`"),
        ("location /a { fastcgi_pass 127.0.0.1:9000; }", "left out: `fastcgi_pass 127.0.0.1:9000`"),
        ("location /a { proxy_pass http://$backend; }", "left out: `http://$backend`"),
        ("location /a { rewrite ^/a/(.*)\\.html$ /$1 last; return 200; }", "left out: `rewrite"),
        ("location /a { if ($arg_x) { return 403; } return 200; }", "left out: `if"),
        ("error_page 404 /404.html;", "left out: `error_page`"),
        ("location /a { auth_basic staff; return 200; }", "left out: `auth_basic staff`"),
        (
            "ssl_verify_client on;\nlocation /a { return 200; }",
            "left out: client certificates are not converted: set `listeners[].tls.client_auth`",
        ),
        ("location /a { location /a/b { return 200; } return 200; }", "left out: `location /a/b`"),
        ("listen 443 quic;", "left out: HTTP/3"),
        ("server_name ~^www;", "left out: the server name `~^www`"),
    ] {
        let imported = server(line).await;
        assert_eq!(imported.run.code, Some(3), "{line}\n{}", imported.run.all());
        imported.says(3, words);
        imported.is_good().await;
    }
}

#[tokio::test]
async fn each_changed_meaning_is_reported() {
    for (line, words) in [
        ("location /a { return 200; }", "changed: nginx matches every path that begins with `/a`"),
        ("location /a/ { proxy_pass http://127.0.0.1:1/b; }", "so that `/a/x` becomes `/bx`"),
        (
            "location / { proxy_pass http://127.0.0.1:1; add_header X-A b; }",
            "is also added to errors",
        ),
        ("location / { proxy_pass https://127.0.0.1:1; }", "accepts any certificate"),
        ("location / { proxy_pass http://a.test:1; }", "nginx rewrites a `Location`"),
        ("location = /a { proxy_pass http://127.0.0.1:1/b; }", "the path becomes `/b`"),
        ("location /a/ { return 444; }", "nginx closes the connection for 444"),
    ] {
        let imported = server(line).await;
        assert_eq!(imported.run.code, Some(0), "{line}\n{}", imported.run.all());
        imported.says(3, words);
        imported.is_good().await;
    }
}

#[tokio::test]
async fn guarded_location_is_not_opened() {
    for guard in [
        "auth_basic staff;",
        "auth_basic staff; auth_basic_user_file gone.htpasswd;",
        "auth_request /who;",
        "auth_jwt closed;",
        "allow 10.0.9.1; deny 10.0.9.0/24; allow 10.0.0.0/8; deny all;",
        "allow unix:; deny all;",
        "secure_link $arg_md5;",
    ] {
        let imported =
            server(&format!("location / {{ {guard} proxy_pass http://127.0.0.1:1; }}")).await;
        assert!(imported.run.stdout.contains("status: 403"), "{guard}\n{}", imported.run.stdout);
        assert!(!imported.run.stdout.contains("upstream:"), "{guard}\n{}", imported.run.stdout);
    }
}

#[tokio::test]
async fn unix_socket_upstreams_are_imported() {
    for (pass, address, prefix) in [
        ("http://unix:/run/app.sock", "unix:/run/app.sock", None),
        ("http://unix:/run/app.sock:/v1/", "unix:/run/app.sock", Some("prefix: /v1/")),
    ] {
        let imported =
            server(&format!("location /a/ {{ proxy_pass {pass}; proxy_redirect off; }}")).await;
        assert_eq!(imported.run.code, Some(0), "{}", imported.run.all());
        assert!(
            imported.run.stdout.contains(&format!("[\"{address}\"]")),
            "{}",
            imported.run.stdout
        );
        assert!(
            prefix.is_none_or(|it| imported.run.stdout.contains(it)),
            "{}",
            imported.run.stdout
        );
        imported.is_good().await;
    }
}

#[tokio::test]
async fn invalid_nginx_file_is_refused() {
    for (text, place) in [
        ("server { listen 80\n}", "site:1: error: the directive has no `;` at its end"),
        ("server {\nlisten 80;\n", "site:1: error: the block has no closing `}`"),
        ("server {\nlisten '80;\n}", "site:2: error: a quoted string has no end"),
        ("}\n", "site:1: error: a closing `}` has no opening `{`"),
        ("events {}\n", "site:1: error: the file has no `server` block"),
        ("include site;\n", "site:1: error: the configuration includes too many files"),
        ("", "site:1: error: the file has no `server` block"),
    ] {
        let imported = import("nginx", "site", text).await;
        assert_eq!(imported.run.code, Some(1), "{text}\n{}", imported.run.all());
        assert!(imported.run.stderr.contains(place), "{text}\n{}", imported.run.stderr);
        assert_eq!(imported.run.stdout, "");
    }
    for text in ["a {".repeat(100_000), "\"".repeat(99_999), "a;".repeat(200_000)] {
        let imported = import("nginx", "site", &text).await;
        assert_eq!(imported.run.code, Some(1));
    }
}

#[tokio::test]
async fn included_files_are_imported_and_named() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file");
    };
    std::fs::create_dir(folder.path().join("sites")).expect("a folder");
    write("nginx.conf", "http { include mime.types; include sites/*; }\n");
    write("sites/a", "server { listen 81; server_name a.test; return 200 a; }\n");
    write("sites/b", "server { listen 81; server_name b.test;\nmystery 1; return 200 b; }\n");
    let run = tidegate_testing::cli(folder.path(), &["import", "nginx", "nginx.conf"], &[]).await;
    assert_eq!(run.code, Some(3), "{}", run.all());
    assert!(
        run.stderr.contains("sites/b:2: left out: the import does not support `mystery`"),
        "{}",
        run.stderr
    );
    assert!(run.stdout.contains("hosts: [b.test]"), "{}", run.stdout);
}

/// What a guard of the location `/` becomes, with these further locations.
async fn guarded(guard: &str, more: &str) -> super::Imported {
    let folder = tempfile::TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file");
    };
    let hash = "$2y$10$abcdefghijklmnopqrstuuOa0n1WEz2P4gVxZQIwZ3q6HPCxSWzSO";
    write("good.htpasswd", &format!("# staff\nann:{hash}\nbob:{hash}\n"));
    write("old.htpasswd", &format!("ann:{hash}\nbob:$apr1$abcdefgh$abcdefghijklmnopqrstuv\n"));
    let text = format!(
        "upstream who {{ server 127.0.0.1:4010; }}\nserver {{ listen 127.0.0.1:8080;\n\
         location / {{ {guard} proxy_pass http://127.0.0.1:4000; proxy_redirect off; }}\n{more}\n}}\n"
    );
    write("site", &text);
    let run = tidegate_testing::cli(folder.path(), &["import", "nginx", "site"], &[]).await;
    super::Imported { run, folder }
}

const WHO: &str = "location = /who { internal; proxy_pass http://who/check; proxy_pass_request_body off; \
                   proxy_set_header Content-Length \"\"; proxy_set_header X-Original-URI $request_uri; }";

#[tokio::test]
async fn guard_with_the_same_meaning_is_imported() {
    let service = "auth-service: {forward: {url: http://127.0.0.1:4010/check";
    let whole = format!("{service}, timeout: 60s}}}}");
    let taken = format!("{service}, take: [x-user-id], timeout: 5s}}}}");
    let passed =
        "auth_request_set $user $upstream_http_x_user_id; proxy_set_header X-User-Id $user;";
    let slow = WHO.replace("internal;", "internal; proxy_read_timeout 5s;");
    for (guard, more, parts) in [
        (
            "auth_basic Staff; auth_basic_user_file good.htpasswd;".to_owned(),
            "",
            vec![
                "passwords: {basic: {file: good.htpasswd, realm: Staff, forward: on}}",
                "require: passwords",
            ],
        ),
        ("allow 10.0.0.0/8; deny all;".to_owned(), "", vec!["clients: {allow: [10.0.0.0/8]}"]),
        (
            "deny 10.0.9.0/24; allow 10.0.0.0/8; deny all;".to_owned(),
            "",
            vec!["clients: {allow: [10.0.0.0/8], deny: [10.0.9.0/24]}"],
        ),
        ("auth_request /who;".to_owned(), WHO, vec![&whole, "require: auth-service"]),
        (format!("auth_request /who; {passed}"), &slow, vec![&taken, "require: auth-service"]),
        (
            "deny 192.0.2.1; auth_request /who;".to_owned(),
            WHO,
            vec!["clients: {deny: [192.0.2.1]}", "require: auth-service"],
        ),
        (
            "auth_basic off; auth_request off; allow all;".to_owned(),
            WHO,
            vec!["upstream: local-4000"],
        ),
    ] {
        let imported = guarded(&guard, more).await;
        assert_eq!(imported.run.code, Some(0), "{guard}\n{}", imported.run.all());
        for part in parts {
            assert!(imported.has_settings(part), "{guard}\n{part}\n{}", imported.run.stdout);
        }
        assert!(imported.has_settings("upstream: local-4000"), "{guard}\n{}", imported.run.stdout);
        imported.is_good().await;
    }
}

#[tokio::test]
async fn guard_with_another_meaning_closes_its_location_and_says_why() {
    let many = WHO.replace("http://who/check", "http://two/check");
    let more = format!("{many}\n}} upstream two {{ server 127.0.0.1:1; server 127.0.0.1:2;");
    let other = WHO.replace("X-Original-URI $request_uri", "X-Tenant $host");
    let inner = WHO.replace("internal;", "internal; allow 127.0.0.1;");
    let set = "auth_request_set $user $upstream_http_x_user; proxy_set_header";
    for (guard, more, reason) in [
        (
            "auth_basic a; auth_basic_user_file old.htpasswd;".to_owned(),
            "",
            "1 of the 2 hashes in `old.htpasswd`",
        ),
        (
            "auth_basic $host; auth_basic_user_file good.htpasswd;".to_owned(),
            "",
            "it has a variable",
        ),
        ("allow 10.0.9.1; deny 10.0.9.0/24;".to_owned(), "", "the order of the rules decides"),
        (
            "satisfy any; deny 192.0.2.1; auth_request /who;".to_owned(),
            WHO,
            "`satisfy any` admits a request that one of several guards admits",
        ),
        (
            "auth_basic a; auth_basic_user_file good.htpasswd; auth_request /who;".to_owned(),
            WHO,
            "both `auth_basic` and `auth_request` would have to admit",
        ),
        ("auth_request /other;".to_owned(), WHO, "no `location = /other` in this server"),
        ("auth_request /who;".to_owned(), &more, "the upstream `two` has several servers"),
        (
            "auth_request /who;".to_owned(),
            &other,
            "the service gets the header `X-Tenant` with `$host`",
        ),
        ("auth_request /who;".to_owned(), &inner, "the location that it asks has `allow`"),
        (
            format!("auth_request /who; {set} X-Name $user;"),
            WHO,
            "the upstream gets the service's `x-user` as `x-name`",
        ),
        (
            format!("auth_request /who; {set} X-User \"id:${{user}}\";"),
            WHO,
            "`x-user` is made of a variable of `auth_request_set`",
        ),
    ] {
        let imported = guarded(&guard, more).await;
        assert_eq!(imported.run.code, Some(3), "{guard}\n{}", imported.run.all());
        imported.says(3, reason);
        imported.says(3, "the route answers 403 until you replace it");
        assert!(imported.run.stdout.contains("status: 403"), "{guard}\n{}", imported.run.stdout);
        assert!(
            !imported.run.stdout.contains("upstream: local-4000"),
            "{guard}\n{}",
            imported.run.stdout
        );
        assert!(!imported.run.stdout.contains("require:"), "{guard}\n{}", imported.run.stdout);
        imported.is_good().await;
    }
}
