//! A configuration that uses many kinds of condition, for the tests of what the command line says of one.

/// Two listeners, two upstreams and four routes.
pub(crate) const SHOP: &str = "\
listeners:
  - {address: \"127.0.0.1:3000\"}
  - {address: \"127.0.0.1:8080\", redirect_to_https: on}
cors: {allow_origins: [\"https://shop.test\"]}
upstreams:
  users: {endpoints: [\"127.0.0.1:4001\"]}
  orders: {endpoints: [\"127.0.0.1:4002\", \"127.0.0.1:4003\"]}
routes:
  - name: users
    match: {path_prefix: /api/v1/users, methods: [GET, POST]}
    upstream: users
    rewrite: {prefix: /people}
    timeouts: {read: 5s}
  - name: beta
    match: {path_prefix: /api/v1/users, methods: [GET, POST], headers: {x-beta: \"1\"}}
    upstream: orders
  - name: orders
    match: {path_prefix: /api/v1, hosts: [\"*.shop.test\"]}
    upstream: orders
    websocket: off
  - name: gone
    match: {path: /old}
    redirect: {to: /new, status: 301}
";
