//! HTTP messages are forwarded whole: streamed, framed and ended as received (RFC 9110, 9112, 9113).

mod bodies;
mod connections;
mod http2_without_tls;
mod methods;
mod refusals;
mod upstream_failures;
