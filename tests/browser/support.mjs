// The kit of these tests: free ports, the gateway as a child process, its configuration, Chromium.
// Everything waits on an event or asks until the answer is there; nothing sleeps and hopes.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import WebSocket from "ws";

/** How long anything may take before a test says so. Far more than it ever needs. */
export const PATIENCE = 30_000;

export const binary =
  process.env.TIDEGATE_BIN ?? fileURLToPath(new URL("../../target/debug/tidegate", import.meta.url));

/** `count` ports that nobody listens on. All are held before the first is let go. */
export async function freePorts(count) {
  const holders = [];
  for (let n = 0; n < count; n += 1) {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    holders.push(holder);
  }
  const ports = holders.map((holder) => holder.address().port);
  await Promise.all(holders.map((holder) => once(holder.close(), "close")));
  return ports;
}

/** Asks `question` until its answer is true. An error counts as "not yet", and is told at the end. */
export async function until(what, question, signal) {
  const deadline = Date.now() + PATIENCE;
  let last;
  while (Date.now() < deadline) {
    signal?.throwIfAborted();
    try {
      if (await question()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await pause(50);
  }
  throw new Error(`waited ${PATIENCE} ms in vain: ${what}`, { cause: last });
}

async function answers(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  return response.ok;
}

/** Runs `tidegate …` and waits until each of `urls` answers 2xx. */
async function tidegate(args, urls) {
  await access(binary).catch(() => {
    throw new Error(`${binary} is not there: run \`cargo build\`, or set TIDEGATE_BIN`);
  });
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk) => (output = (output + chunk).slice(-20_000)));
  }
  const gone = new AbortController();
  const ended = new Promise((resolve) => {
    child.on("error", (error) => {
      gone.abort(error);
      resolve({ error });
    });
    child.on("exit", (code, killedBy) => {
      gone.abort(new Error(`tidegate ${args.join(" ")} ended (${killedBy ?? code}):\n${output}`));
      resolve({ code, killedBy });
    });
  });
  const stop = async (signal = "SIGINT") => {
    child.kill(signal);
    const killer = setTimeout(() => child.kill("SIGKILL"), PATIENCE);
    const end = await ended;
    clearTimeout(killer);
    return { ...end, output };
  };
  try {
    for (const url of urls) await until(`${url} to answer`, () => answers(url), gone.signal);
  } catch (error) {
    await stop("SIGKILL");
    throw new Error(`tidegate ${args.join(" ")} did not start:\n${output}`, { cause: error });
  }
  return { stop, output: () => output };
}

/**
 * Starts `tidegate demo` on free ports, with `args` in addition. `config({gateway, service, page})`, if given, writes
 * the gateway's configuration for them.
 */
export async function startDemo({ config, args: more = [] } = {}) {
  const [gateway, service, page] = await freePorts(3);
  const file = config && (await configFile(config({ gateway, service, page })));
  const args = ["demo", "--gateway-port", gateway, "--service-port", service, "--page-port", page, ...more];
  if (file) args.push("--config", file.path);
  const running = await tidegate(args.map(String), [
    `http://127.0.0.1:${service}/health`,
    `http://127.0.0.1:${page}/`,
    // With --auth, notifications need a token.
    `http://127.0.0.1:${gateway}${more.includes("--auth") ? "/health" : "/api/notification?userId=readiness"}`,
  ]);
  return {
    ...running,
    config: file,
    page: (userId) => `http://localhost:${page}/?userId=${encodeURIComponent(userId)}`,
    origin: `http://localhost:${page}`,
    socket: (userId) =>
      `ws://127.0.0.1:${gateway}/api/notifications/ws?userId=${encodeURIComponent(userId)}`,
    /** Sends a notification the way any program would: by HTTP, through the gateway. */
    async notify(userId, title, body = "", token) {
      const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const response = await fetch(`http://127.0.0.1:${gateway}/api/notification`, {
        method: "POST",
        headers: { "content-type": "application/json", ...authorization },
        body: JSON.stringify({ userId, title, body }),
        signal: AbortSignal.timeout(PATIENCE),
      });
      if (response.status !== 201) {
        throw new Error(`POST answered ${response.status}: ${await response.text()}`);
      }
      return response.json();
    },
    /** A token of the issuer of `--auth`. */
    async token(user) {
      const response = await fetch(`http://127.0.0.1:${page}/token`, {
        method: "POST",
        body: JSON.stringify({ user }),
        signal: AbortSignal.timeout(PATIENCE),
      });
      if (!response.ok) throw new Error(`POST /token answered ${response.status}: ${await response.text()}`);
      return (await response.json()).access_token;
    },
    async stop(signal) {
      const end = await running.stop(signal);
      await file?.remove();
      return end;
    },
  };
}

/**
 * Starts `tidegate run` with this configuration; `ready` is a URL that answers 2xx through it, or
 * null when the caller finds out for itself.
 */
export async function startGateway(yaml, ready) {
  const file = await configFile(yaml);
  const urls = ready === null ? [] : [ready];
  const running = await tidegate(["run", "--config", file.path], urls).catch(async (error) => {
    await file.remove();
    throw error;
  });
  return {
    ...running,
    file: file.path,
    async stop(signal) {
      const end = await running.stop(signal);
      await file.remove();
      return end;
    },
  };
}

async function configFile(yaml) {
  const folder = await mkdtemp(join(tmpdir(), "tidegate-browser-"));
  const path = join(folder, "tidegate.yaml");
  const write = (text) => writeFile(path, text);
  await write(yaml);
  return { path, write, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** The configuration of the story, with WebSocket `on` or `off` on its route. */
export const storyConfig =
  (websocket) =>
  ({ gateway, service, page }) => `
listeners:
  - address: 127.0.0.1:${gateway}
cors:
  allow_origins: ["http://localhost:${page}"]
  allow_credentials: true
upstreams:
  notifications:
    endpoints: ["127.0.0.1:${service}"]
routes:
  - name: notifications-ws
    match: {path_prefix: /api/notifications/ws}
    upstream: notifications
    rewrite: {prefix: /}
    websocket: ${websocket}
  - name: notifications
    match: {path_prefix: /api/notification}
    upstream: notifications
`;

/** Chromium as the tests want it: quiet, without a window, without the network's other services. */
export function launchChromium(...more) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...more,
    ],
  });
}

/** A fresh page on `url`, and all that its console says. */
export async function openPage(browser, url, prepare = async () => {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const console = [];
  page.on("console", (message) => console.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => console.push(`uncaught: ${error}`));
  await prepare(page);
  await page.goto(url);
  /** Waits until the text of the element `id` is exactly, or matches, `wanted`. */
  const shows = async (id, wanted) => {
    const locator = page.getByTestId(id);
    let seen;
    await until(`#${id} to show ${wanted}`, async () => {
      seen = await locator.textContent();
      return wanted instanceof RegExp ? wanted.test(seen) : seen === wanted;
    }).catch((error) => {
      throw new Error(`${error.message}; it shows ${JSON.stringify(seen)}\n${console.join("\n")}`);
    });
    return seen;
  };
  return { page, console, shows, close: () => context.close() };
}

/** An npm `ws` client, open, whose messages are kept until they are asked for. */
export async function connect(url, protocols, options) {
  const socket = new WebSocket(url, protocols, { handshakeTimeout: PATIENCE, ...options });
  const waiting = [];
  const arrived = [];
  socket.on("message", (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    const taker = waiting.shift();
    if (taker) taker(message);
    else arrived.push(message);
  });
  const closed = new Promise((resolve) => {
    socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  const next = () =>
    arrived.length ? Promise.resolve(arrived.shift()) : new Promise((resolve) => waiting.push(resolve));
  await once(socket, "open");
  return { socket, next, nextJson: async () => JSON.parse(await next()), closed };
}

/** What an upgrade that is refused is answered with. */
export function refusal(url, options) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { handshakeTimeout: PATIENCE, ...options });
    socket.on("error", reject);
    socket.on("open", () => {
      socket.close();
      reject(new Error(`${url} was upgraded`));
    });
    socket.on("unexpected-response", (request, response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk) => (body += chunk));
      response.on("end", () => {
        request.destroy();
        resolve({ status: response.statusCode, body });
      });
    });
  });
}
