// HTTPS as Chromium sees it: pages by HTTP/2, and WebSockets on the same connection (RFC 8441) to
// an upstream that knows HTTP/1.1 alone.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { WebSocketServer } from "ws";
import { freePorts, launchChromium, openPage, PATIENCE, startGateway, until } from "./support.mjs";

const options = { timeout: 2 * PATIENCE };

describe("a page and its WebSocket by HTTPS", () => {
  let upstream;
  let gateway;
  let browser;
  let origin;
  let ports;
  const yaml = (protocols) => `
listeners:
  - address: 127.0.0.1:${ports[0]}
  - address: 127.0.0.1:${ports[1]}
    protocols: ${protocols}
    tls: {self_signed: true}
identity: {user_id: [{query: userId}]}
upstreams:
  service: {endpoints: ["127.0.0.1:${upstream.address().port}"]}
routes:
  - {name: all, match: {path_prefix: /}, upstream: service}
`;

  before(async () => {
    ports = await freePorts(2);
    origin = `https://localhost:${ports[1]}`;
    upstream = createServer((_request, response) => {
      response.setHeader("content-type", "text/html");
      response.end("<!doctype html><title>page</title><p>hello");
    });
    const server = new WebSocketServer({ server: upstream, perMessageDeflate: { threshold: 0 } });
    server.on("connection", (socket) => {
      socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
    upstream.listen(0, "127.0.0.1");
    await once(upstream, "listening");
    browser = await launchChromium("--ignore-certificate-errors");
  });
  after(async () => {
    await browser?.close();
    upstream?.closeAllConnections();
    upstream?.close();
  });

  /** Echoes through a WebSocket, closes it, and tells how it went. */
  const echo = ({ page }, url) =>
    page.evaluate(
      (url) =>
        new Promise((resolve) => {
          const socket = new WebSocket(url);
          const echoed = [];
          socket.onopen = () => ["one", "x".repeat(100_000)].forEach((text) => socket.send(text));
          socket.onmessage = ({ data }) => {
            echoed.push(data.length);
            if (echoed.length === 2) socket.close(4000, "enough");
          };
          socket.onclose = ({ code, reason, wasClean }) =>
            resolve({ echoed, code, reason, wasClean, extensions: socket.extensions });
        }),
      url,
    );

  for (const [protocols, version] of [
    ["[h2, h1]", "2"],
    ["[h1]", "1.1"],
  ]) {
    test(`protocols: ${protocols}`, options, async () => {
      gateway = await startGateway(yaml(protocols), `http://127.0.0.1:${ports[0]}/`);
      try {
        const tab = await openPage(browser, `${origin}/page-${version}`, async () => {});
        const told = await echo(tab, `${origin.replace("https", "wss")}/ws?userId=user-1`);
        assert.deepEqual(told, {
          echoed: [3, 100_000],
          code: 4000,
          reason: "enough",
          wasClean: true,
          extensions: "permessage-deflate",
        });
        let line;
        await until("the session's end in the log", () => {
          line = gateway.output().split("\n").find((it) => it.includes("websocket.close"));
          return line !== undefined;
        });
        line = JSON.parse(line);
        assert.equal(line["network.protocol.version"], version);
        assert.equal(line["user.id"], "user-1");
        assert.equal(line["websocket.close.code"], 4000);
        assert.equal(line["websocket.close.initiator"], "client");
        await tab.close();
      } finally {
        await gateway.stop();
      }
    });
  }
});
