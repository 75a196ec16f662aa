// The same for version 2 of http-proxy-middleware, which leaves the path whole.
const express = require("express");
const { createProxyMiddleware } = require("http-proxy-middleware");

const app = express();
app.disable("x-powered-by");

const target = `http://127.0.0.1:${process.env.USERS_PORT || 4001}`;
const orders = `http://127.0.0.1:${process.env.ORDERS_PORT || 4002}`;

app.use("/api/users", createProxyMiddleware({ target, changeOrigin: true, logLevel: "silent" }));
app.use("/api/orders", createProxyMiddleware({
  target: orders,
  pathRewrite: { "^/api/orders/old": "/archive", "^/api/orders": "/v2/orders" },
  logLevel: "silent",
  onProxyReq(proxyReq) {
    proxyReq.setHeader("x-gateway", "two");
    proxyReq.removeHeader("x-secret");
  },
  onProxyRes(proxyRes) {
    delete proxyRes.headers["x-powered-by"];
    proxyRes.headers["x-served"] = "yes";
  },
}));
app.use(createProxyMiddleware(["/both/one", "/both/two"], {
  target: `${orders}/base/`,
  pathRewrite: { "^/both": "" },
  logLevel: "silent",
}));
app.use("/live", createProxyMiddleware({ target: orders, ws: true, logLevel: "silent" }));

app.listen(process.env.PORT || 3000, "127.0.0.1");
