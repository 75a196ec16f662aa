//! What the gateway promises to its users, tried with the real binary over real sockets: one
//! file per promise.

#![cfg(unix)]

mod support;

mod access_log;
mod acme;
mod acme_orders;
mod admin;
mod cache;
mod certificates;
mod cli;
mod client_certificates;
mod compression;
mod cors;
mod discovery;
mod documented_commands;
mod error_pages;
mod examples_run;
mod explain;
mod files;
mod forwarded_headers;
mod header_changes;
mod health_checks;
mod history;
mod http2_floods;
mod http2_limits;
mod http2_to_http1;
mod http_semantics;
mod import;
mod limits;
mod maintenance;
mod metrics;
mod own_answers;
mod own_filter;
mod pools;
mod prefix_routing;
mod proxy_protocol;
mod readme;
mod reload_keeps_sockets;
mod retries;
mod service_manager;
mod session_admin;
mod session_ends;
mod shutdown;
mod slow_clients;
mod splits;
mod tls;
mod traces;
mod transparency;
mod unix_sockets;
mod upgrade;
mod upgrade_secured;
mod upstream_limits;
mod upstream_tls;
mod websocket_over_http2;
mod websocket_passes;
mod websocket_refusals;
