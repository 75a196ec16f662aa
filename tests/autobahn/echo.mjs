// Echo server of the Autobahn comparison, on the `ws` package that tests/browser locks: says its
// port on stdout, ends with stdin.
import { createRequire } from 'node:module';

const require = createRequire(new URL('../browser/package.json', import.meta.url));
const { WebSocketServer } = require('ws');

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  // Even small messages, or half of the sections 12 and 13 would not be compressed at all.
  perMessageDeflate: { threshold: 0 },
  maxPayload: 64 * 1024 * 1024,
  // Section 9 sends four mebibytes in fragments of 64 bytes.
  maxFragments: 1024 * 1024,
  maxBufferedChunks: 1024 * 1024,
});
server.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  // Autobahn breaks the protocol on purpose; ws then closes with the code that it finds right.
  socket.on('error', () => {});
});
server.on('listening', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
