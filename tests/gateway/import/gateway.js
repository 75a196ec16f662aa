// A gateway as one finds it: services behind prefixes, a table of them, notifications by WebSocket.
const express = require('express');
const cors = require('cors');
const http = require('http');
const morgan = require('morgan');
const path = require('path');
const WebSocket = require('ws');
const rateLimit = require('express-rate-limit');
const { createProxyMiddleware } = require('http-proxy-middleware');
const { requireUser } = require('./auth');

const app = express();
const server = http.createServer(app);
const sockets = new WebSocket.Server({ noServer: true });

app.use(morgan('combined'));
app.use(cors({
  origin: ['http://localhost:5173', process.env.PAGE || 'https://shop.example.com'],
  credentials: true,
  maxAge: 600,
}));
app.use(rateLimit({ windowMs: 60000, max: 100 }));

app.get('/health', (req, res) => {
  res.status(200).json({ status: 'ok', services: 3 });
});
app.get('/time', (req, res) => res.json({ now: Date.now() }));

const services = [
  { path: '/api/users', target: process.env.USERS_URL || 'http://localhost:4001' },
  { path: '/api/orders', target: `http://${process.env.ORDERS_HOST || 'localhost'}:4002` },
];
services.forEach(({ path, target }) => {
  app.use(path, createProxyMiddleware({
    target,
    changeOrigin: true,
    pathRewrite: { [`^${path}`]: '' },
    proxyTimeout: 30000,
    onProxyReq: (proxyReq, req) => {
      console.log(req.method, req.url);
      proxyReq.setHeader('X-Gateway', 'express');
    },
    onError: (error, req, res) => {
      res.status(502).json({ error: 'unavailable' });
    },
  }));
});

app.use('/api/staff', requireUser, createProxyMiddleware({
  target: 'http://localhost:4003',
  logLevel: 'warn',
}));

// What the page asks for while no socket is open.
app.use('/api/notification', createProxyMiddleware({
  target: 'http://localhost:4009',
  changeOrigin: true,
  pathRewrite: { '^/api/notification': '/api/notification' },
}));

server.on('upgrade', (request, socket, head) => {
  if (request.url.startsWith('/api/notifications/ws')) {
    const url = new URL(request.url, `http://${request.headers.host}`);
    const user = url.searchParams.get('userId');
    console.log('upgrade', user);
    const service = 'ws://localhost:4009';
    const upstream = new WebSocket(service);
    upstream.on('open', () => {
      sockets.handleUpgrade(request, socket, head, (client) => {
        client.on('message', (message) => upstream.send(message));
        upstream.on('message', (message) => client.send(message));
      });
    });
  } else {
    socket.destroy();
  }
});

app.get('/users/:id', (req, res) => res.redirect(`/people/${req.params.id}`));
app.use(express.static(path.join(__dirname, 'dist')));
app.get('*', (req, res) => {
  res.sendFile(path.join(__dirname, 'dist', 'index.html'));
});

const PORT = process.env.PORT || 3000;
server.listen(PORT, () => console.log(`on ${PORT}`));
