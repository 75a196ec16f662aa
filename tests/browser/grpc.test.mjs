// gRPC, with the client and the server of the gRPC project: HTTP/2 at both ends, trailers and all.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import grpc from "@grpc/grpc-js";
import { freePorts, PATIENCE, startGateway } from "./support.mjs";

const options = { timeout: 2 * PATIENCE };

/** Messages are JSON: what is in them is nobody's business on the way. */
const json = {
  requestSerialize: (value) => Buffer.from(JSON.stringify(value)),
  requestDeserialize: (bytes) => JSON.parse(bytes),
  responseSerialize: (value) => Buffer.from(JSON.stringify(value)),
  responseDeserialize: (bytes) => JSON.parse(bytes),
};
const method = (name, requestStream, responseStream) => ({
  path: `/tide.Gauge/${name}`,
  requestStream,
  responseStream,
  ...json,
});
const definition = {
  read: method("Read", false, false),
  watch: method("Watch", false, true),
  collect: method("Collect", true, false),
  chat: method("Chat", true, true),
};

const implementation = {
  read(call, answer) {
    const trailers = new grpc.Metadata();
    trailers.set("x-tide", "low");
    if (call.request.fail) {
      answer({ code: grpc.status.FAILED_PRECONDITION, details: "no water", metadata: trailers });
    } else {
      answer(null, { name: call.request.name, seen: call.metadata.get("x-user") }, trailers);
    }
  },
  watch(call) {
    for (let n = 0; n < call.request.count; n += 1) call.write({ n, pad: "x".repeat(10_000) });
    call.end();
  },
  collect(call, answer) {
    let sum = 0;
    call.on("data", ({ n }) => (sum += n));
    call.on("end", () => answer(null, { sum }));
  },
  chat(call) {
    call.on("data", (message) => call.write({ echo: message }));
    call.on("end", () => call.end());
  },
};

describe("gRPC through the gateway", () => {
  let server;
  let gateway;
  let ports;
  const clients = [];

  before(async () => {
    server = new grpc.Server();
    server.addService(definition, implementation);
    const service = await new Promise((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
    ports = await freePorts(3);
    gateway = await startGateway(
      `
listeners:
  - {address: "127.0.0.1:${ports[0]}"}
  - {address: "127.0.0.1:${ports[1]}", protocols: [h2c]}
  - {address: "127.0.0.1:${ports[2]}", tls: {self_signed: true}}
upstreams:
  gauge: {endpoints: ["127.0.0.1:${service}"], protocols: [h2c]}
routes:
  - {name: gauge, match: {path_prefix: /tide.Gauge}, upstream: gauge, timeouts: {read: 5s}, grpc_web: on}
`,
      null,
    );
    const insecure = grpc.credentials.createSsl(null, null, null, {
      checkServerIdentity: () => undefined,
      rejectUnauthorized: false,
    });
    const make = grpc.makeGenericClientConstructor(definition, "Gauge");
    clients.push(["h2c", new make(`127.0.0.1:${ports[1]}`, grpc.credentials.createInsecure())]);
    clients.push(["TLS", new make(`localhost:${ports[2]}`, insecure)]);
    for (const [, client] of clients) {
      await new Promise((resolve, reject) => {
        client.waitForReady(Date.now() + PATIENCE, (error) => (error ? reject(error) : resolve()));
      });
    }
  });
  after(async () => {
    for (const [, client] of clients) client.close();
    await gateway?.stop();
    server?.forceShutdown();
  });

  const each = (name, run) =>
    test(name, options, async () => {
      for (const [how, client] of clients) await run(client, how);
    });

  each("one request, one answer, with metadata and trailers", async (client, how) => {
    const metadata = new grpc.Metadata();
    metadata.set("x-user", "user-1");
    let status;
    const answer = await new Promise((resolve, reject) => {
      const call = client.read({ name: how }, metadata, (error, answer) =>
        error ? reject(error) : resolve(answer),
      );
      call.on("status", (it) => (status = it));
    });
    assert.deepEqual(answer, { name: how, seen: ["user-1"] });
    assert.equal(status.code, grpc.status.OK);
    assert.deepEqual(status.metadata.get("x-tide"), ["low"], "trailers come through");
  });

  each("an error is the service's own, in its trailers", async (client) => {
    const error = await new Promise((resolve) => client.read({ fail: true }, resolve));
    assert.equal(error.code, grpc.status.FAILED_PRECONDITION);
    assert.equal(error.details, "no water");
    assert.deepEqual(error.metadata.get("x-tide"), ["low"]);
  });

  each("a stream of answers", async (client) => {
    const seen = [];
    for await (const { n } of client.watch({ count: 100 })) seen.push(n);
    assert.deepEqual(seen, [...Array(100).keys()]);
  });

  each("a stream of requests", async (client) => {
    const answer = await new Promise((resolve, reject) => {
      const call = client.collect((error, answer) => (error ? reject(error) : resolve(answer)));
      for (let n = 1; n <= 100; n += 1) call.write({ n });
      call.end();
    });
    assert.equal(answer.sum, 5050);
  });

  test("gRPC-Web, as browsers send it by HTTP/1.1", options, async () => {
    const frame = (value) => {
      const bytes = Buffer.from(JSON.stringify(value));
      const head = Buffer.alloc(5);
      head.writeUInt32BE(bytes.length, 1);
      return Buffer.concat([head, bytes]);
    };
    const ask = async (value) => {
      const response = await fetch(`http://127.0.0.1:${ports[0]}/tide.Gauge/Read`, {
        method: "POST",
        headers: { "content-type": "application/grpc-web+json", "x-grpc-web": "1" },
        body: frame(value),
        signal: AbortSignal.timeout(PATIENCE),
      });
      const bytes = Buffer.from(await response.arrayBuffer());
      const frames = [];
      for (let at = 0; at < bytes.length; ) {
        const length = bytes.readUInt32BE(at + 1);
        frames.push([bytes[at], bytes.subarray(at + 5, at + 5 + length).toString()]);
        at += 5 + length;
      }
      return { response, frames };
    };
    const { response, frames } = await ask({ name: "web" });
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type"), /^application\/grpc-web/);
    assert.deepEqual(frames[0], [0, '{"name":"web","seen":[]}']);
    assert.equal(frames[1][0], 0x80, "the trailers, as the last frame");
    assert.match(frames[1][1], /grpc-status: ?0/);
    assert.match(frames[1][1], /x-tide: ?low/);

    const failed = await ask({ fail: true });
    const told = failed.frames.map(([, text]) => text).join() + failed.response.headers.get("grpc-status");
    assert.match(told, /grpc-status: ?9|^9$/, "FAILED_PRECONDITION");
  });

  each("both at once, each message when it is said", async (client) => {
    const call = client.chat();
    const answers = call[Symbol.asyncIterator]();
    for (const word of ["one", "two", "three"]) {
      call.write({ word });
      assert.deepEqual((await answers.next()).value, { echo: { word } });
    }
    call.end();
    assert.equal((await answers.next()).done, true);
  });
});
