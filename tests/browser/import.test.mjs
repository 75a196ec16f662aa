// The same requests to a gateway of Express and http-proxy-middleware, and to Tidegate with what
// `tidegate import express` made of it, both before the same services, which tell what they were asked.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";
import { binary, connect, freePorts, PATIENCE, startGateway, until } from "./support.mjs";

const options = { timeout: 3 * PATIENCE };
const here = fileURLToPath(new URL(".", import.meta.url));

/** A service that says in its answer what it was asked. */
async function startService(name) {
  const server = createServer(async (asked, answer) => {
    const chunks = await asked.toArray();
    const { method, url, headers } = asked;
    const body = Buffer.concat(chunks).toString();
    answer.setHeader("x-powered-by", name);
    answer.setHeader("set-cookie", ["a=1", "b=2"]);
    answer.setHeader("content-type", "application/json");
    answer.end(JSON.stringify({ name, method, url, headers, body }));
  });
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket, asked) => socket.send(JSON.stringify({ name, url: asked.url })));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return { port: server.address().port, stop };
}

/** Runs the program with this version of http-proxy-middleware, and what was made of it; `status` is the import's. */
async function startBoth(program, middleware, version, status = 0) {
  const services = { users: await startService("users"), orders: await startService("orders") };
  const ports = { USERS_PORT: services.users.port, ORDERS_PORT: services.orders.port };
  const folder = await mkdtemp(join(tmpdir(), "tidegate-import-"));
  await mkdir(join(folder, "node_modules"));
  for (const [name, from] of [
    ["express", "express"],
    ["cors", "cors"],
    ["express-rate-limit", "express-rate-limit"],
    ["ws", "ws"],
    ["http-proxy-middleware", middleware],
  ]) {
    await symlink(join(here, "node_modules", from), join(folder, "node_modules", name));
  }
  await copyFile(join(here, "import", program), join(folder, program));
  const dependencies = { "http-proxy-middleware": version };
  await writeFile(join(folder, "package.json"), JSON.stringify({ dependencies }));

  const [theirs, ours] = await freePorts(2);
  const node = spawn(process.execPath, [program], {
    cwd: folder,
    env: { ...process.env, ...ports, PORT: theirs },
    stdio: ["ignore", "ignore", "inherit"],
  });
  let gateway;
  const stop = async () => {
    node.kill();
    await gateway?.stop();
    Object.values(services).forEach((service) => service.stop());
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const imported = await new Promise((resolve) => {
      const env = { ...process.env, ...ports, PORT: ours };
      execFile(binary, ["import", "express", program], { cwd: folder, env }, (error, stdout, stderr) =>
        resolve({ code: error?.code ?? 0, stdout, stderr }),
      );
    });
    assert.equal(imported.code, status, imported.stdout + imported.stderr);
    // The gateway takes its ports from this process's environment.
    for (const [name, port] of Object.entries({ ...ports, PORT: ours })) process.env[name] = `${port}`;
    gateway = await startGateway(imported.stdout, null);
    for (const port of [theirs, ours]) {
      await until(`port ${port} to answer`, () => ask(port, ["GET", "/api/users/ready"]));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { theirs, ours, stop };
}

/** One request, its path as it is; what came of it. */
async function ask(port, [method, path, headers = {}, body = ""]) {
  const asked = request({
    host: "127.0.0.1",
    port,
    method,
    path,
    headers: { host: "localhost", connection: "close", ...headers },
    agent: false,
  });
  asked.end(body);
  const [answer] = await once(asked, "response");
  const text = Buffer.concat(await answer.toArray()).toString();
  return { status: answer.statusCode, headers: answer.headers, text };
}

/** Fields that Tidegate tells a service by itself, or that belong to a connection. */
const own = [
  "connection",
  "content-length",
  "forwarded",
  "via",
  "transfer-encoding",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-request-id",
];

/** What both have to agree in. */
function fate({ status, headers, text }) {
  const compared = ["content-type", "location", "set-cookie", "x-powered-by", "x-served"];
  const cors = ["access-control-allow-origin", "access-control-allow-credentials"];
  // The module says the second to whomever, where it means nothing.
  if (headers[cors[0]]) compared.push(...cors);
  let service;
  try {
    const told = JSON.parse(text);
    if (told.url) service = told;
  } catch {
    // No service said it.
  }
  for (const name of service ? own : []) delete service.headers[name];
  // An error's page is the middle's own.
  const isPage = !service && (status >= 400 || status === 301);
  const fields = Object.fromEntries(compared.map((name) => [name, headers[name]]));
  if (isPage) delete fields["content-type"];
  return { status, fields, service, text: service || isPage ? undefined : text };
}

/** Puts all to both, and tells every difference. */
async function agree(both, cases, explained = new Map()) {
  const wrong = [];
  for (const asked of cases) {
    const [theirs, ours] = [fate(await ask(both.theirs, asked)), fate(await ask(both.ours, asked))];
    const why = explained.get(`${asked[0]} ${asked[1]}`);
    let isSame = true;
    try {
      assert.deepStrictEqual(ours, theirs);
    } catch (difference) {
      isSame = false;
      if (!why) wrong.push(`${JSON.stringify(asked)}: ${difference.message}`);
    }
    if (isSame && why) wrong.push(`${JSON.stringify(asked)} is the same, despite: ${why}`);
  }
  assert.equal(wrong.length, 0, wrong.join("\n"));
}

/** Requests for each path: as it is, with a query, below, encoded, with bodies and fields. */
function corpus(paths) {
  const cases = [];
  for (const path of paths) {
    cases.push(
      ["GET", `${path}/x`],
      ["GET", `${path}/x/y?a=b&c=%20`],
      ["GET", `${path}/a%20b/%C3%BC`],
      ["HEAD", `${path}/x`],
      ["POST", `${path}/x`, { "content-type": "application/json" }, '{"a": 1}'],
      ["PUT", `${path}/x`, { cookie: "a=1; b=2", authorization: "Bearer x" }, "text"],
      ["DELETE", `${path}/x?all=1`],
      ["GET", `${path}/x`, { host: "shop.test", "x-secret": "1", "x-many": ["1", "2"] }],
    );
  }
  return cases;
}

describe("http-proxy-middleware 3", () => {
  let both;
  before(async () => (both = await startBoth("gateway.js", "http-proxy-middleware", "^3.0.0", 3)), options);
  after(() => both?.stop());

  test("requests are led as they were led", options, async () => {
    const cases = corpus(["/api/users", "/api/orders", "/based", "/kept", "/tables"]);
    cases.push(...corpus(["/filtered/one", "/v1/users", "/tables/orders"]));
    cases.push(
      ["GET", "/health"],
      ["HEAD", "/health"],
      ["GET", "/old"],
      ["GET", "/gone"],
      ["POST", "/gone"],
      ["GET", "/api/usersx"],
      ["GET", "/api/users"],
      ["GET", "/api/users?a=b"],
      ["GET", "/based"],
      ["GET", "/filtered"],
      ["GET", "/filtered/two/x"],
      ["GET", "/v1/only"],
      ["GET", "/nothing"],
      ["GET", "/api/users/x", { origin: "http://shop.test" }],
      ["GET", "/kept/x", { origin: "http://else.test" }],
      ["GET", "/tables/x", { host: "orders.test" }],
      ["GET", "/tables/orders/x", { host: "orders.test" }],
      ["GET", "/kept/staff"],
      ["POST", "/kept/staff/x"],
      ["GET", "/kept/staff/x/y"],
      ["GET", "/kept/staffx", { "x-staff": "1" }],
      ["GET", "/kept/staff/z", { "x-staff": "1" }],
    );
    await agree(both, cases, new Map([
      ["GET /v1/only", "a path that is there, for another method, is answered 405"],
      ["GET /kept/staff/z", "what a guard let through waits for a guard of one's own"],
      ["GET /based", "an empty rest is no slash behind the target's own path"],
    ]));
  });

  test("as many requests are let through as were", options, async () => {
    const limited = Array.from({ length: 6 }, () => ["GET", "/based/limited/x"]);
    await agree(both, limited);
    assert.equal((await ask(both.ours, limited[0])).status, 429);
  });

  test("WebSockets are led as they were led", options, async () => {
    const told = async (port) => {
      const client = await connect(`ws://127.0.0.1:${port}/live`);
      const first = await client.nextJson();
      client.socket.close();
      return first;
    };
    assert.deepEqual(await told(both.ours), await told(both.theirs));
  });

  test("preflights are answered for the same origins", options, async () => {
    for (const origin of ["http://shop.test", "http://admin.test", "http://else.test"]) {
      const asked = ["OPTIONS", "/api/users/x", { origin, "access-control-request-method": "PUT" }];
      const allowed = async (port) => {
        const { headers } = await ask(port, asked);
        return [headers["access-control-allow-origin"], headers["access-control-allow-credentials"]];
      };
      const [ours, theirs] = [await allowed(both.ours), await allowed(both.theirs)];
      assert.equal(ours[0], theirs[0], origin);
      if (theirs[0]) assert.deepEqual(ours, theirs);
    }
  });
});

describe("http-proxy-middleware 2", () => {
  let both;
  before(async () => (both = await startBoth("gateway-2.js", "http-proxy-middleware-2", "^2.0.0")), options);
  after(() => both?.stop());

  test("requests are led as they were led", options, async () => {
    const cases = corpus(["/api/users", "/api/orders", "/api/orders/old", "/both/one", "/live"]);
    cases.push(
      ["GET", "/api/users"],
      ["GET", "/api/orders"],
      ["GET", "/api/orders/old"],
      ["GET", "/both/two"],
      ["GET", "/both/three"],
      ["GET", "/"],
    );
    await agree(both, cases);
  });

  test("WebSockets are led as they were led", options, async () => {
    // The proxy listens for them once it has been asked for anything.
    await ask(both.theirs, ["GET", "/live/x"]);
    for (const port of [both.ours, both.theirs]) {
      const client = await connect(`ws://127.0.0.1:${port}/live/a?b=c`);
      assert.deepEqual(await client.nextJson(), { name: "orders", url: "/live/a?b=c" });
      client.socket.close();
    }
  });
});
