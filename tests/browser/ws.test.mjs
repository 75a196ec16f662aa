// The gateway as the npm `ws` client and an npm `ws` server see it: neither should be able to tell
// that there is anything between them.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { WebSocketServer } from "ws";
import { connect, freePorts, PATIENCE, refusal, startDemo, startGateway } from "./support.mjs";

const options = { timeout: 2 * PATIENCE };

describe("the demo's notification service behind the gateway", () => {
  let demo;
  before(async () => (demo = await startDemo()));
  after(() => demo?.stop());

  test("greets, pushes to the user's sockets only, and answers a ping", options, async () => {
    const mine = await connect(demo.socket("ws-client"));
    const theirs = await connect(demo.socket("other"));
    assert.deepEqual(await mine.nextJson(), { type: "connected", userId: "ws-client" });
    assert.deepEqual(await theirs.nextJson(), { type: "connected", userId: "other" });

    const created = await demo.notify("ws-client", "Hello", "there");
    assert.deepEqual(await mine.nextJson(), { type: "notification", notification: created });
    assert.equal(created.read, false);

    theirs.socket.send("ping");
    assert.deepEqual(await theirs.nextJson(), { type: "pong" }, "and no notification before it");

    mine.socket.close(1000, "done");
    theirs.socket.close(1000);
    assert.deepEqual((await mine.closed).code, 1000);
    assert.deepEqual((await theirs.closed).code, 1000);
  });

  test("the service's own refusal comes through whole", options, async () => {
    const { status, body } = await refusal(demo.socket("").replace("?userId=", ""));
    assert.equal(status, 400);
    assert.match(JSON.parse(body).message, /userId/);
  });
});

describe("an upstream of one's own", () => {
  let upstream;
  let server;
  let gateway;
  let url;
  before(async () => {
    upstream = createServer((_request, response) => response.end("ok"));
    server = new WebSocketServer({
      server: upstream,
      perMessageDeflate: { threshold: 0 },
      handleProtocols: (offered) => (offered.has("tide.v2") ? "tide.v2" : false),
    });
    upstream.listen(0, "127.0.0.1");
    await once(upstream, "listening");
    const [port] = await freePorts(1);
    url = `ws://127.0.0.1:${port}/live`;
    gateway = await startGateway(
      `
listeners:
  - address: 127.0.0.1:${port}
upstreams:
  own:
    endpoints: ["127.0.0.1:${upstream.address().port}"]
routes:
  - name: live
    match: {path_prefix: /live}
    upstream: own
`,
      `http://127.0.0.1:${port}/live`,
    );
  });
  after(async () => {
    await gateway?.stop();
    for (const client of server?.clients ?? []) client.terminate();
    server?.close();
    upstream?.close();
  });

  /** Both ends of one connection through the gateway. */
  const pair = async (...args) => {
    const arrival = once(server, "connection");
    const client = await connect(url, ...args);
    const [peer, request] = await arrival;
    return { client, peer, request };
  };

  test("the server's close code and reason reach the client", options, async () => {
    const { client, peer } = await pair();
    peer.close(4001, "your session has ended");
    assert.deepEqual(await client.closed, { code: 4001, reason: "your session has ended" });
  });

  test("the client's close code and reason reach the server", options, async () => {
    const { client, peer } = await pair();
    const closed = once(peer, "close");
    client.socket.close(4002, "leaving");
    const [code, reason] = await closed;
    assert.deepEqual([code, reason.toString()], [4002, "leaving"]);
    assert.equal((await client.closed).code, 4002);
  });

  test("the subprotocol is offered, chosen and agreed on end to end", options, async () => {
    const { client, peer, request } = await pair(["tide.v1", "tide.v2"]);
    assert.equal(request.headers["sec-websocket-protocol"], "tide.v1,tide.v2");
    assert.equal(peer.protocol, "tide.v2");
    assert.equal(client.socket.protocol, "tide.v2");
    client.socket.close(1000);
    await client.closed;
  });

  test("permessage-deflate is negotiated and used both ways", options, async () => {
    const { client, peer } = await pair(undefined, { perMessageDeflate: { threshold: 0 } });
    assert.match(client.socket.extensions, /permessage-deflate/);
    assert.match(peer.extensions, /permessage-deflate/);

    const text = "the tide comes in, the tide goes out. ".repeat(20_000);
    const received = once(peer, "message");
    client.socket.send(text);
    const [data] = await received;
    assert.equal(data.toString(), text);
    peer.send(text);
    assert.equal(await client.next(), text);
    assert.ok(client.socket._socket.bytesRead < text.length / 10, "it came compressed");
    client.socket.close(1000);
    await client.closed;
  });

  test("text and binary, pings and pongs, pass as what they are", options, async () => {
    const { client, peer } = await pair();
    const bytes = Buffer.from([0, 255, 1, 254]);
    peer.send(bytes);
    assert.deepEqual(await client.next(), bytes);
    const pong = once(peer, "pong");
    peer.ping("still there?");
    const [answer] = await pong;
    assert.equal(answer.toString(), "still there?");
    client.socket.close(1000);
    await client.closed;
  });
});
