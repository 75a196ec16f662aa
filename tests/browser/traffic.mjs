// A gateway with something to see: routes that are quick, slow and broken, sessions of several users, and
// versions of its configuration.

import { writeFile, rename } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { WebSocket, WebSocketServer } from "ws";
import { freePorts, startGateway } from "./support.mjs";

export const TOKEN = "0123456789abcdef-dashboard";

/** What stands behind: it answers, takes its time on /slow, fails on /broken, and echoes messages. */
async function service(port) {
  const server = createServer(async (request, response) => {
    if (request.url.startsWith("/slow")) await pause(120);
    response.statusCode = request.url.startsWith("/broken") ? 500 : 200;
    response.end("ok");
  });
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket) => {
    socket.on("error", () => {});
    socket.on("message", (message) => socket.send(message));
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return () => {
    for (const socket of sockets.clients) socket.terminate();
    server.closeAllConnections();
    server.close();
  };
}

export async function startTraffic() {
  const [gateway, admin, behind, nobody] = await freePorts(4);
  const stopService = await service(behind);
  const yaml = (timeout) => `
listeners: [{address: "127.0.0.1:${gateway}"}]
admin: {address: "127.0.0.1:${admin}", token: ${TOKEN}}
identity: {user_id: [{query: userId}]}
cors: {allow_origins: ["https://app.example"]}
upstreams:
  catalogue: {endpoints: ["127.0.0.1:${behind}"]}
  notifications: {endpoints: ["127.0.0.1:${behind}"]}
  billing: {endpoints: ["127.0.0.1:${behind}", "127.0.0.1:${nobody}"], ejection: on}
routes:
  - {name: catalogue, match: {path_prefix: /api/catalogue}, upstream: catalogue, rewrite: {prefix: /}, timeouts: {read: ${timeout}s}}
  - {name: search, match: {path_prefix: /api/search}, upstream: catalogue, rewrite: {prefix: /slow}}
  - {name: billing, match: {path_prefix: /api/billing}, upstream: billing, rewrite: {prefix: /broken}, websocket: off}
  - {name: notifications-ws, match: {path: /api/notifications/ws}, upstream: notifications}
  - {name: health, match: {path: /health}, respond: {status: 200, body: ok}}
`;
  const at = `http://127.0.0.1:${gateway}`;
  const running = await startGateway(yaml(5), `${at}/health`);
  const sockets = [];
  let version = 1;
  return {
    ...running,
    gateway: at,
    admin: `http://127.0.0.1:${admin}/`,
    get: (path) => fetch(at + path).then(async (response) => (await response.text(), response.status)),
    /** Opens a session; resolves when it is open. */
    async open(user) {
      const socket = new WebSocket(`ws://127.0.0.1:${gateway}/api/notifications/ws?userId=${user}`);
      sockets.push(socket);
      await once(socket, "open");
      return socket;
    },
    /** Edits the file: a good edit, or this one; resolves when the gateway has looked at it. */
    async edit(text) {
      const next = text ?? yaml(5 + version);
      await writeFile(`${running.file}.new`, next);
      await rename(`${running.file}.new`, running.file);
      if (text) return;
      version += 1;
      for (;;) {
        const { versions } = await fetch(`http://127.0.0.1:${admin}/history`).then((response) => response.json());
        if (versions[0].version >= version) return;
        await pause(50);
      }
    },
    async stop() {
      for (const socket of sockets) socket.terminate();
      const end = await running.stop("SIGINT");
      stopService();
      return end;
    },
  };
}
