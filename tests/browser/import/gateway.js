// What the replay puts its requests to: Node.js with this file, and Tidegate with what becomes of it.
const express = require("express");
const cors = require("cors");
const { createServer } = require("http");
const WebSocket = require("ws");
const { rateLimit } = require("express-rate-limit");
const { createProxyMiddleware } = require("http-proxy-middleware");

const app = express();
const server = createServer(app);
const users = `http://127.0.0.1:${process.env.USERS_PORT || 4001}`;
const orders = `http://127.0.0.1:${process.env.ORDERS_PORT || 4002}`;

app.disable("x-powered-by");
app.use(cors({ origin: ["http://shop.test", "http://admin.test"], credentials: true }));

app.get("/health", (req, res) => res.json({ status: "ok", list: [1, "two", null] }));
app.get("/old", (req, res) => res.redirect(301, "/api/users"));
app.all("/gone", (req, res) => res.sendStatus(410));

const table = [
  { path: "/api/users", target: users },
  { path: "/api/orders", target: orders },
];
for (const { path, target } of table) {
  app.use(path, createProxyMiddleware({ target, changeOrigin: true }));
}
const proxy = (target, more) => createProxyMiddleware({ target, ...more });
app.use("/based/limited", rateLimit({ windowMs: 60 * 60 * 1000, limit: 3 }));
app.use("/based", proxy(`${users}/base`));
app.use("/kept/staff", (req, res, next) => (req.headers["x-staff"] ? next() : res.sendStatus(403)));
app.use("/kept", proxy(orders, { changeOrigin: false, headers: { "x-gateway": "yes" } }));
app.use(createProxyMiddleware({ pathFilter: ["/filtered/one", "/filtered/two"], target: orders }));
app.use("/tables", proxy(users, { router: { "/orders": orders, "orders.test": orders } }));

const v1 = express.Router();
v1.use("/users", proxy(users));
v1.post("/only", proxy(orders));
app.use("/v1", v1);

server.on("upgrade", (request, socket, head) => {
  if (request.url.startsWith("/live")) {
    const upstream = new WebSocket(`ws://127.0.0.1:${process.env.ORDERS_PORT}/sockets`);
    upstream.on("open", () => {
      const sockets = new WebSocket.Server({ noServer: true });
      sockets.handleUpgrade(request, socket, head, (client) => {
        upstream.on("message", (data, isBinary) => client.send(data, { binary: isBinary }));
        client.on("message", (data, isBinary) => upstream.send(data, { binary: isBinary }));
        client.on("close", () => upstream.close());
      });
    });
  } else {
    socket.destroy();
  }
});

server.listen(process.env.PORT || 3000, "127.0.0.1");
