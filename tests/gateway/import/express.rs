//! Express with http-proxy-middleware: what comes out of a whole program, and what is said of lines.
//! tests/browser/import.test.mjs puts requests to both.

use super::{Imported, comes_out_as_written, import};

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
async fn a_gateway_as_one_finds_it() {
    comes_out_as_written("express", "gateway.js", 3).await;
}

#[tokio::test]
async fn modules_types_and_helpers_of_ones_own() {
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
async fn each_line_that_is_not_carried_is_named() {
    for (line, words) in [
        ("app.get('/a', (req, res) => res.json({ at: Date.now() }));", "code of your own"),
        ("app.get('/a/:id', (req, res) => res.send('x'));", "`/a/:id`: a route's path"),
        ("app.use((req, res, next) => { req.x = 1; next(); });", "code that looks at each request"),
        (
            "app.use('/a', createProxyMiddleware({ target: 'http://b:1', pathRewrite: (p) => p, on: {} }));",
            "`pathRewrite` is code",
        ),
        (
            "app.use('/a', createProxyMiddleware({ target: 'http://b:1', on: { proxyRes: handle } }));",
            "`proxyRes`: a handler that is not seen",
        ),
        (
            "app.use('/a', createProxyMiddleware({ target: 'http://b:1', on: {}, followRedirects: true }));",
            "`followRedirects` has no counterpart",
        ),
        ("app.use('/a', createProxyMiddleware({ target: find() }));", "it answers 501"),
        ("app.set('trust proxy', 1);", "`trust proxy`"),
        (
            "require('http').createServer(app).on('upgrade', (a, b) => b.destroy());",
            "shows no target",
        ),
    ] {
        let imported = program(&format!("{line} app.get('/ok', (a, b) => b.send('ok'));")).await;
        assert_eq!(imported.run.code, Some(3), "{line}\n{}", imported.run.all());
        imported.says(4, words);
        imported.is_good().await;
    }
}

#[tokio::test]
async fn what_guards_is_not_opened() {
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
    ] {
        let imported = program(&line).await;
        assert_eq!(imported.run.code, Some(3), "{line}\n{}", imported.run.all());
        imported.has("respond: {status: 403}");
        assert!(!imported.run.stdout.contains("upstream: "), "{line}\n{}", imported.run.stdout);
        imported.is_good().await;
    }
}

#[tokio::test]
async fn http_proxy_by_hand() {
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
async fn the_policy_of_preflights_is_not_that_of_all() {
    let imported =
        program("const cors = require('cors'); app.use(cors({ origin: 'http://a' })); app.options('*', require('cors')());").await;
    assert!(!imported.run.stdout.contains('*'), "{}", imported.run.stdout);
}

#[tokio::test]
async fn the_path_that_a_service_is_asked_for_follows_the_version() {
    let line = "app.use('/a', createProxyMiddleware({ target: 'http://b:1/base' }));";
    let imported = program(line).await;
    imported.has("rewrite: {prefix: /base}");
    imported.says(4, "read as http-proxy-middleware 3");
    let line =
        "app.use('/a', createProxyMiddleware({ target: 'http://b:1/base', logLevel: 'warn' }));";
    program(line).await.has("rewrite: {prefix: /base/a}");
}

#[tokio::test]
async fn what_is_no_program_of_express_is_refused() {
    for (text, place) in [
        ("const a = ;", "gateway.js:1: error: Unexpected token"),
        ("\n\nlet let = 1 +\n", "gateway.js:"),
        ("console.log(1)", "gateway.js:1: error: there is no `express()` in it"),
        ("", "gateway.js:1: error: there is no `express()` in it"),
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
