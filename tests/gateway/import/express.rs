//! Express with http-proxy-middleware: whole programs and single lines. tests/browser/import.test.mjs sends requests to
//! both.

use super::{Imported, comes_out_as_written, import};
use tidegate_testing::cli;

const HEAD: &str = "\
const express = require('express');
const { createProxyMiddleware } = require('http-proxy-middleware');
const app = express();
";

/// What the gateway says of a program that does just this, on its fourth line.
async fn program(line: &str) -> Imported {
    import("express", "gateway.js", &format!("{HEAD}{line}\napp.listen(3000);\n")).await
}

impl Imported {
    /// That this stands in the result.
    fn has(&self, text: &str) {
        assert!(self.run.stdout.contains(text), "{text}\n{}", self.run.all());
    }
}

#[tokio::test]
async fn typical_express_gateway_is_imported() {
    comes_out_as_written("express", "gateway.js", 3).await;
}

#[tokio::test]
async fn typescript_modules_and_helpers_are_resolved() {
    let text = "\
import express, { type Request } from 'express';
import { createProxyMiddleware as proxy, Options } from 'http-proxy-middleware';
interface Service { name: string; port: number }
const HOST: string = process.env.HOST ?? 'localhost';
const services: Service[] = [{ name: 'users', port: 4001 }, { name: 'orders', port: 4002 }];
const options = (port: number): Options => ({ target: `http://${HOST}:${port}`, on: {} });
const app = express();
function mount(service: Service) { app.use(`/api/${service.name}`, proxy(options(service.port))); }
services.forEach(mount);
Object.entries({ '/carts': 4003 }).map(([at, port]) => app.use(at, proxy({ ...options(port), ws: true })));
app.listen(Number(process.env.PORT) || 8080, '127.0.0.1');
";
    let imported = import("express", "gateway.ts", text).await;
    assert_eq!(imported.run.code, Some(0), "{}", imported.run.all());
    imported.is_good().await;
    for part in [
        "match: {path_prefix: /api/users}",
        "match: {path_prefix: /api/orders}",
        "match: {path_prefix: /carts}",
        "[\"${HOST:-localhost}:4002\"]",
        "address: \"127.0.0.1:${PORT:-8080}\"",
    ] {
        imported.has(part);
    }
}

#[tokio::test]
async fn each_unsupported_line_is_reported() {
    for (line, words) in [
        ("app.get('/a', (req, res) => res.json({ at: Date.now() }));", "this handler is code"),
        (
            "app.get('/a/:id', (req, res) => res.send('x'));",
            "the path `/a/:id`: a route matches only",
        ),
        ("app.use((req, res, next) => { req.x = 1; next(); });", "code that runs for each request"),
        (
            "app.use('/a', createProxyMiddleware({ target: 'http://b:1', pathRewrite: (p) => p, on: {} }));",
            "`pathRewrite` is code",
        ),
        (
            "app.use('/a', createProxyMiddleware({ target: 'http://b:1', on: { proxyRes: handle } }));",
            "`proxyRes`: a handler that the import cannot follow",
        ),
        (
            "app.use('/a', createProxyMiddleware({ target: 'http://b:1', on: {}, followRedirects: true }));",
            "the option `followRedirects` has no equivalent",
        ),
        ("app.use('/a', createProxyMiddleware({ target: find() }));", "its route answers 501"),
        ("app.set('trust proxy', 1);", "`trust proxy`"),
        (
            "require('http').createServer(app).on('upgrade', (a, b) => b.destroy());",
            "without a recognisable target",
        ),
    ] {
        let imported = program(&format!("{line} app.get('/ok', (a, b) => b.send('ok'));")).await;
        assert_eq!(imported.run.code, Some(3), "{line}\n{}", imported.run.all());
        imported.says(4, words);
        imported.is_good().await;
    }
}

#[tokio::test]
async fn guarded_route_is_not_opened() {
    let proxy =
        "createProxyMiddleware({ target: 'http://b:1', changeOrigin: true, timeout: 9, on: {} })";
    for line in [
        format!("app.use('/a', require('./auth'), {proxy});"),
        format!("app.use('/a', require('express-jwt').expressjwt({{}}), {proxy});"),
        format!("app.use('/a', unknown, {proxy});"),
        format!("app.use(require('./verifyToken')); app.use('/a', {proxy});"),
        format!("app.use('/a', (q, s, next) => q.ok ? next() : s.sendStatus(401), {proxy});"),
        format!("const r = express.Router(); r.use('/b', {proxy}); app.use('/a', requireAuth, r);"),
        format!("app.use('/a', [passport.authenticate('jwt')], {proxy});"),
        format!("app.all('/a/*', requireAuth); app.use('/a', {proxy});"),
        format!("app.use('/a/:tenant/admin', requireAuth); app.use('/a', {proxy});"),
        format!(
            "app.use('/a/:tenant/admin', requireAuth, express.json()); app.use('/a', {proxy});"
        ),
        format!(
            "app.get('/a/:id', requireAuth, (q, s) => s.json(q.user)); app.get('/a/*', {proxy});"
        ),
        format!(
            "const r = express.Router(); r.use(requireAuth); app.use('/a/:id', r); app.use('/a', {proxy});"
        ),
        format!("app.all('/a/admin*', requireAuth); app.use('/a', {proxy});"),
        format!(
            "app.use(/secret/, (q, s, next) => q.ok ? next() : s.sendStatus(401)); app.use('/a', {proxy});"
        ),
    ] {
        let imported = program(&line).await;
        assert_eq!(imported.run.code, Some(3), "{line}\n{}", imported.run.all());
        imported.has("respond: {status: 403}");
        assert!(!imported.run.stdout.contains("upstream: "), "{line}\n{}", imported.run.stdout);
        imported.is_good().await;
    }
}

#[tokio::test]
async fn every_form_of_guard_is_recognised() {
    for line in [
        // By what it does.
        "app.use((q, s, next) => { if (!q.session.user) return s.redirect('/login'); next(); });",
        "app.use((q, s, next) => q.isAuthenticated() ? next() : s.redirect('/login'));",
        "app.use((q, s, next) => { if (!q.user) throw new AuthError(); next(); });",
        "app.use((q, s, done) => { check(q, (error) => done(error)); });",
        "app.use(async (q, s, next) => { await find(q); next(); });",
        "app.use((q, s, next) => { q.user = jwt.verify(q.headers.x, KEY); next(); });",
        "app.use((q, s, next) => next(q.headers.x === KEY ? undefined : new AuthError()));",
        "app.use((...all) => requireAuth(...all));",
        "app.use((q, s) => { if (!q.user) return s.sendStatus(401); serve(q, s); });",
        // By where it comes from.
        "const { isLoggedIn } = require('./middleware/user'); app.use(isLoggedIn);",
        "app.use(require('csurf')());",
        "app.use(require('#lib/check'));",
        // By where it stands.
        "require('./guards')(app);",
        "const { install } = require('./guards'); install(app);",
        "process.env.AUTH ? app.use(requireAuth) : null;",
        "switch (process.env.AUTH) { case 'on': app.use(requireAuth); }",
        "for (let i = 0; i < 1; i++) app.use(requireAuth);",
        "while (again()) { app.use(requireAuth); }",
        "connect().then(() => { app.use(requireAuth); });",
        "class Guards { static install(app) { app.use(requireAuth); } } Guards.install(app);",
        "if (process.env.OPEN) { app.use(require('morgan')()); } else { app.use(requireAuth); }",
        "app.set('x', 1), app.use(requireAuth);",
        "const all = []; all.push(requireAuth); app.use(all);",
        "let guard = requireAuth; if (process.env.OPEN) guard = (q, s, next) => next(); app.use(guard);",
        "let g; if (process.env.AUTH) g = requireAuth; else g = (q, s, next) => next(); app.use(g);",
        "const pass = (q, s, next) => next(); const m = { guard: pass }; m.guard = requireAuth; app.use(m.guard);",
        "const cfg = require('./config'); app.use(cfg.guard || ((q, s, next) => next()));",
        "app.use(find('guard') ?? ((q, s, next) => next()));",
        "app.use(express.json({ verify: (q, s, body) => check(q, body) }));",
        "app.param('id', (q, s, next, id) => next());",
        "app.route('/a').all(requireAuth);",
        "require('http').createServer((q, s) => q.headers.x ? app(q, s) : s.end());",
        "require('http').createServer(require('http-auth').basic({}).check(app));",
        "services().forEach((it) => app.use(it.path, requireAuth));",
    ] {
        let proxy = "app.use('/a', createProxyMiddleware({ target: 'http://b:1', on: {} }));";
        let imported = program(&format!("{line} {proxy}")).await;
        assert_eq!(imported.run.code, Some(3), "{line}\n{}", imported.run.all());
        assert!(!imported.run.stdout.contains("upstream: "), "{line}\n{}", imported.run.stdout);
        imported.is_good().await;
    }
}

#[tokio::test]
async fn middleware_that_is_no_guard_closes_nothing() {
    for line in [
        "app.use((q, s, next) => { console.log(q.url); next(); });",
        "app.use((q, s, next) => { s.setHeader('x', '1'); return next(); });",
        "app.use(require('express-session')({}));",
        "app.use(require('passport').initialize());",
        "// app.use(requireAuth);\n/* app.use(requireAuth) */",
        "require('passport').use(strategy);",
        "if (process.env.LOG) { app.use(require('morgan')()); } else { console.log('quiet'); }",
    ] {
        let proxy = "app.use('/a', createProxyMiddleware({ target: 'http://b:1', on: {} }));";
        let imported = program(&format!("{line} {proxy}")).await;
        imported.has("upstream: b-1");
        imported.is_good().await;
    }
}

#[tokio::test]
async fn guard_of_a_part_closes_only_that_part() {
    let proxy = "createProxyMiddleware({ target: 'http://b:1/base', timeout: 9, on: {} })";
    for (guard, closed) in [
        ("app.use('/a/admin', requireAuth)", "match: {path_prefix: /a/admin}"),
        ("app.all('/a/admin/*', requireAuth)", "match: {path_prefix: /a/admin}"),
        ("app.post('/a/login', csrf())", "match: {path_prefix: /a/login, methods: [POST]}"),
        ("app.get('/a/me', requireAuth, (q, s) => s.json(q.user))", "methods: [GET, HEAD]}"),
        (
            "const r = express.Router(); r.use('/admin', requireAuth); app.use('/a', r)",
            "match: {path_prefix: /a/admin}",
        ),
    ] {
        let imported = program(&format!("{guard}; app.use('/a', {proxy});")).await;
        assert_eq!(imported.run.code, Some(3), "{guard}\n{}", imported.run.all());
        imported.has(closed);
        let parts = imported.run.stdout.split("  # gateway.js:").collect::<Vec<_>>();
        let closed = parts.iter().filter(|route| route.contains("respond: {status: 403}")).count();
        assert_eq!(closed, 1, "{guard}\n{}", imported.run.stdout);
        imported.has("match: {path_prefix: /a}\n    upstream: b-1");
        imported.is_good().await;
    }
}

#[tokio::test]
async fn divided_route_does_not_shadow_other_routes() {
    let limit = "require('express-rate-limit')()";
    let proxy =
        |more: &str| format!("createProxyMiddleware({{ target: 'http://b:1', on: {{}}{more} }})");
    for (line, path, to) in [
        // What has no file goes on to the proxy.
        (
            format!(
                "app.use('/a', {limit}); app.use(express.static('dist')); app.use('/a', {});",
                proxy("")
            ),
            "/a/x",
            "upstream  b-1",
        ),
        (
            format!(
                "app.use('/a', requireAuth); app.use(express.static('dist')); app.use('/a', {});",
                proxy("")
            ),
            "/a/x",
            "403",
        ),
        ("app.use('/a', requireAuth); app.use(express.static('dist'));".to_owned(), "/a/x", "403"),
        // What is rewritten, or led elsewhere, stays so.
        (
            format!(
                "app.use('/a/v1', {limit}); app.use('/a', {});",
                proxy(", pathRewrite: { '^/v1': '/x' }")
            ),
            "/a/v1/y",
            "/x/y",
        ),
        (
            format!(
                "app.use('/a/v1', {limit}); app.use('/a', {});",
                proxy(", router: { '/v1': 'http://c:2' }")
            ),
            "/a/v1/y",
            "c-2",
        ),
        // A guard for a method holds for what is limited apart.
        (
            format!(
                "app.post('/a/*', requireAuth); app.all('/a/me', {limit}); app.use('/a', {});",
                proxy("")
            ),
            "POST /a/me/x",
            "403",
        ),
        (
            format!(
                "const r = express.Router(); r.use('/u', {0}); app.use('/v', mount(r)); app.use('/a', {0});",
                proxy("")
            ),
            "/u/x",
            "no route matches",
        ),
        (
            format!("app.all('/a/admin', requireAuth); app.use('/a', {});", proxy("")),
            "/a/admin/",
            "403",
        ),
        (
            format!(
                "app.get('/a/b', {limit}); app.head('/a/b', requireAuth); app.use('/a', {});",
                proxy("")
            ),
            "HEAD /a/b",
            "403",
        ),
    ] {
        let imported = program(&line).await;
        imported.is_good().await;
        let (method, path) = path.split_once(' ').unwrap_or(("GET", path));
        let url = format!("http://localhost{path}");
        let told = cli(imported.folder.path(), &["explain", "--method", method, &url], &[]).await;
        assert!(told.stdout.contains(to), "{line}\n{}\n{}", imported.run.all(), told.all());
    }
}

#[tokio::test]
async fn proxy_filter_applies_below_its_mount_only() {
    let version_2 = "onProxyReq: () => {}";
    for (mount, filter, taken) in
        [("/a/v1", "/a", "/a/v1"), ("/a", "/a/v1", "/a/v1"), ("/a", "/", "/a")]
    {
        let line = format!(
            "app.use('{mount}', createProxyMiddleware('{filter}', {{ target: 'http://b:1', {version_2} }}));"
        );
        let imported = program(&line).await;
        imported.is_good().await;
        let paths = imported.run.stdout.matches("path_prefix: ").count();
        assert_eq!(paths, 1, "{line}\n{}", imported.run.stdout);
        imported.has(&format!("path_prefix: {taken}}}"));
    }
}

#[tokio::test]
async fn rate_limits_are_applied_to_later_routes() {
    let line = "const limit = require('express-rate-limit'); \
                const { rateLimit } = require('express-rate-limit'); \
                app.use(rateLimit({ windowMs: 15 * 60 * 1000, limit: 100 })); \
                app.use('/a/login', limit({ max: 7 })); \
                app.use('/a', createProxyMiddleware({ target: 'http://b:1/base', ws: true, on: {} })); \
                app.get('/b', limit({ windowMs: 1500, limit: 2 }), (q, s) => s.send('b')); \
                app.get('/c', (q, s) => s.send('c'));";
    let imported = program(line).await;
    assert_eq!(imported.run.code, Some(0), "{}", imported.run.all());
    imported.says(4, "each route counts separately");
    imported.is_good().await;
    let routes: Vec<String> = imported
        .run
        .stdout
        .split("  - name: ")
        .map(|route| route.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let by = "by: client_address}";
    let all = format!("rate_limits: - {{requests: 100, per: 15m, burst: 100, {by}");
    let login = format!("{all} - {{requests: 7, per: 1m, burst: 7, {by}");
    let short = format!("{all} - {{requests: 2, per: 1500ms, burst: 2, {by}");
    for (name, limits) in [("a", &all), ("a-login", &login), ("b", &short), ("c", &all)] {
        let route = routes.iter().find(|route| route.starts_with(&format!("{name} ")));
        let route = route.unwrap_or_else(|| panic!("{name}\n{}", imported.run.stdout));
        let told = route.split_once("rate_limits:").map(|(_, told)| format!("rate_limits:{told}"));
        let told = told.map(|told| told.split(" #").next().unwrap_or_default().to_owned());
        assert_eq!(told.as_ref(), Some(limits), "{name}\n{}", imported.run.stdout);
        if name == "a-login" {
            assert!(route.contains("rewrite: {prefix: /base/login}"), "{route}");
            assert!(!route.contains("websocket: off"), "{route}");
        }
    }
    for (options, code, words) in [
        ("{ keyGenerator: (q) => q.ip }", 3, "`keyGenerator` is code"),
        (
            "{ limit: (q) => 5 }",
            3,
            "a rate limit whose options are computed at run time or out of range",
        ),
        ("options", 3, "a rate limit whose options are computed at run time or out of range"),
        ("{})); app.post('/', require('express-rate-limit')(", 3, "a rate limit of only `/`"),
        (
            "{ windowMs: 7 * 24 * 60 * 60 * 1000 }",
            3,
            "a rate limit whose options are computed at run time or out of range",
        ),
        (
            "{ windowMs: 1 / 0 }",
            3,
            "a rate limit whose options are computed at run time or out of range",
        ),
        ("{ skip: (q) => true }", 3, "`skip` is code"),
        ("{ store: new Store() }", 3, "use `shared_counters`"),
        ("{ statusCode: 503, skipFailedRequests: true }", 0, "counts all requests"),
        ("{ message: 'slow down' }", 0, "use `error_pages`"),
    ] {
        let line = format!(
            "app.use(require('express-rate-limit')({options})); app.get('/a', (q, s) => s.send('a'));"
        );
        let imported = program(&line).await;
        assert_eq!(imported.run.code, Some(code), "{options}\n{}", imported.run.all());
        imported.says(4, words);
        imported.is_good().await;
    }
}

#[tokio::test]
async fn http_proxy_calls_are_imported() {
    let line = "const proxy = require('http-proxy').createProxyServer({ changeOrigin: true }); \
                app.all('/a/*', (req, res) => { console.log(1); proxy.web(req, res, { target: 'http://b:1' }); }); \
                app.use('/m', (req, res) => { proxy.web(req, res, { target: 'http://b:1' }); });";
    let imported = program(line).await;
    assert_eq!(imported.run.code, Some(0), "{}", imported.run.all());
    imported.is_good().await;
    imported.has("match: {path_prefix: /a}\n    upstream: b-1\n    rewrite: {host: upstream}");
    imported.has(
        "match: {path_prefix: /m}\n    upstream: b-1\n    rewrite: {prefix: /, host: upstream}",
    );
}

#[tokio::test]
async fn cors_of_options_does_not_replace_the_global_policy() {
    let imported =
        program("const cors = require('cors'); app.use(cors({ origin: 'http://a' })); app.options('*', require('cors')());").await;
    assert!(!imported.run.stdout.contains('*'), "{}", imported.run.stdout);
}

#[tokio::test]
async fn upstream_path_follows_the_middleware_version() {
    let line = "app.use('/a', createProxyMiddleware({ target: 'http://b:1/base' }));";
    let imported = program(line).await;
    imported.has("rewrite: {prefix: /base}");
    imported.says(4, "the import assumes http-proxy-middleware 3");
    let line =
        "app.use('/a', createProxyMiddleware({ target: 'http://b:1/base', logLevel: 'warn' }));";
    program(line).await.has("rewrite: {prefix: /base/a}");
}

#[tokio::test]
async fn file_without_an_express_app_is_refused() {
    for (text, place) in [
        ("const a = ;", "gateway.js:1: error: Unexpected token"),
        ("\n\nlet let = 1 +\n", "gateway.js:"),
        ("console.log(1)", "gateway.js:1: error: the program has no call of `express()`"),
        ("", "gateway.js:1: error: the program has no call of `express()`"),
    ] {
        let imported = import("express", "gateway.js", text).await;
        assert_eq!(imported.run.code, Some(1), "{text}\n{}", imported.run.all());
        assert!(imported.run.stderr.contains(place), "{text}\n{}", imported.run.stderr);
    }
    let many = "[0,1,2,3,4,5,6,7,8,9].forEach(() => ";
    for line in [
        "[".repeat(100_000),
        "f(".repeat(100_000),
        format!("{}a{}", many.repeat(12), ")".repeat(12)),
        "const f = () => f(); f();".to_owned(),
        "const f = (x) => f(x + x); f('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa');".to_owned(),
        "const r = express.Router(); r.use('/', r); app.use(r);".to_owned(),
        format!("const s = 1{};", " + 1".repeat(50_000)),
        format!("const s = {}1;", "!".repeat(20_000)),
    ] {
        let imported = program(&line).await;
        assert!(imported.run.code.is_some(), "{line:.60} ended it");
        assert!(!imported.run.stderr.contains("panicked"), "{line:.60}");
    }
}
