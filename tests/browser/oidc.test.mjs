// The login of a browser at a real OpenID Connect provider: to the provider, back to the page, its WebSocket, a
// refresh of the tokens, the logout. The provider is another site than the page, as it usually is.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, get } from "node:http";
import { after, before, describe, test } from "node:test";
import { Provider } from "oidc-provider";
import { WebSocketServer } from "ws";
import { freePorts, launchChromium, openPage, PATIENCE, refusal, startGateway, until } from "./support.mjs";

const options = { timeout: 2 * PATIENCE };

describe("a login with OpenID Connect", () => {
  let provider;
  let issuer;
  let tokens = 0;
  let upstream;
  let seen = [];
  let gateway;
  let browser;
  let origin;

  before(async () => {
    const [gatewayPort, issuerPort] = await freePorts(2);
    origin = `http://localhost:${gatewayPort}`;
    issuer = `http://127.0.0.1:${issuerPort}`;
    const client = {
      client_id: "tidegate",
      client_secret: "a secret of the gateway",
      grant_types: ["authorization_code", "refresh_token"],
      redirect_uris: [`${origin}/.tidegate/login/callback`],
      post_logout_redirect_uris: [`${origin}/goodbye`],
    };
    const oidc = new Provider(issuer, {
      clients: [client],
      // Short, so that the gateway refreshes them.
      ttl: { AccessToken: 2 },
      issueRefreshToken: () => true,
      cookies: { keys: ["of the provider's own cookies"] },
    });
    oidc.on("grant.success", () => (tokens += 1));
    provider = createServer(oidc.callback()).listen(issuerPort, "127.0.0.1");
    await once(provider, "listening");

    upstream = createServer((request, response) => {
      seen.push(request.headers);
      response.setHeader("content-type", "text/html");
      response.end("<!doctype html><title>page</title><p data-testid=page>hello");
    });
    const server = new WebSocketServer({ server: upstream });
    server.on("connection", (socket, request) => {
      seen.push(request.headers);
      socket.on("message", (data) => socket.send(`echo ${data}`));
    });
    upstream.listen(0, "127.0.0.1");
    await once(upstream, "listening");
    gateway = await startGateway(
      `
listeners: [{address: 127.0.0.1:${gatewayPort}}]
identity: {user_id: [{claim: sub}]}
headers: {request: {set: {X-User: "{user.id}"}}}
authentication:
  browser:
    oidc:
      issuer: ${issuer}
      client_id: tidegate
      client_secret: a secret of the gateway
      cookie: {keys: [0123456789abcdef0123456789abcdef]}
      after_logout: /goodbye
require: browser
upstreams:
  service: {endpoints: ["127.0.0.1:${upstream.address().port}"]}
routes:
  - {name: all, match: {path_prefix: /}, upstream: service}
  - {name: goodbye, match: {path: /goodbye}, require: off, respond: {status: 200, body: Goodbye}}
`,
      `${origin}/goodbye`,
    );
    await until("the gateway to know the issuer", async () => {
      // `fetch` would say that it is no navigation.
      const [response] = await once(get(origin, { headers: { accept: "text/html" } }), "response");
      response.resume();
      return response.statusCode === 302;
    });
    browser = await launchChromium();
  });
  after(async () => {
    await browser?.close();
    await gateway?.stop();
    for (const server of [upstream, provider]) {
      server?.closeAllConnections();
      server?.close();
    }
  });

  /** What a WebSocket of the page echoes, or that it is refused. */
  const echo = (page, text) =>
    page.evaluate(
      (text) =>
        new Promise((resolve) => {
          const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws`);
          socket.onopen = () => socket.send(text);
          socket.onmessage = ({ data }) => resolve(data);
          socket.onerror = () => resolve("refused");
        }),
      text,
    );

  test("log in, page, socket, refresh, log out", options, async () => {
    const target = `${origin}/page?a=1`;
    const { status } = await refusal(`${origin.replace("http", "ws")}/ws`, { origin });
    assert.equal(status, 401);
    const { page, shows, close } = await openPage(browser, target);
    assert.ok(page.url().startsWith(`${issuer}/interaction/`), page.url());
    assert.deepEqual(seen, [], "nothing reaches the upstream before the login");
    await page.fill("input[name=login]", "alice");
    await page.fill("input[name=password]", "any");
    await page.click("button[type=submit]");
    // The consent.
    await page.click("button[type=submit]");
    await page.waitForURL(target);
    await shows("page", "hello");
    assert.equal(seen[0]["x-user"], "alice");
    assert.equal(seen[0].cookie, undefined, "the upstream gets no login");

    const cookies = await page.context().cookies(origin);
    assert.deepEqual(
      cookies.map(({ name, httpOnly, sameSite, path }) => ({ name, httpOnly, sameSite, path })),
      [{ name: "tidegate_login", httpOnly: true, sameSite: "Lax", path: "/" }],
    );
    assert.equal(await page.evaluate(() => document.cookie), "");
    assert.equal(await echo(page, "one"), "echo one");

    const before = tokens;
    await until("a refresh", async () => {
      assert.equal(await page.evaluate(async () => (await fetch("/page")).status), 200);
      return tokens > before;
    });
    const renewed = await page.context().cookies(origin);
    assert.notEqual(renewed[0].value, cookies[0].value);
    assert.equal(await echo(page, "two"), "echo two");

    await page.goto(`${origin}/page`);
    await page.evaluate(() => {
      const form = document.body.appendChild(document.createElement("form"));
      form.method = "post";
      form.action = "/.tidegate/login/logout";
      form.submit();
    });
    // The provider asks.
    await page.click("button[name=logout]");
    await page.waitForURL(`${origin}/goodbye`);
    assert.deepEqual(await page.context().cookies(origin), []);
    assert.equal(await echo(page, "three"), "refused");
    assert.equal(await page.evaluate(async () => (await fetch("/page")).status), 401);
    // The provider has forgotten the login too.
    await page.goto(target);
    await page.waitForSelector("input[name=login]");
    await close();
  });
});
