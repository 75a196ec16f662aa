//! What the gateway promises to its users, tried with the real binary over real sockets: one
//! file per promise.

#![cfg(unix)]

mod support;

mod access_log;
mod acme;
mod admin;
mod cache;
mod cli;
mod compression;
mod connection_metrics;
mod cors;
mod difference;
mod discovery;
mod documented_commands;
mod documented_shell;
mod error_pages;
mod examples_run;
mod exemplars;
mod explain;
mod explain_holds;
mod files;
mod forwarded_headers;
mod header_changes;
mod history;
mod http2_floods;
mod http_semantics;
mod import;
mod limits;
mod maintenance;
mod metrics;
mod overload;
mod own_answers;
mod own_filter;
mod pods_stop;
mod pools;
mod prefix_routing;
mod protocols;
mod rate_limits;
mod readme;
mod reload_keeps_sockets;
mod service_manager;
mod session_admin;
mod session_ends;
mod shared_counters;
mod shutdown;
mod slow_clients;
mod splits;
mod timeouts;
mod tls;
mod traces;
mod transparency;
mod unix_sockets;
mod upgrade;
mod upstream_tls;
mod warnings;
mod websocket_over_http2;
mod websocket_passes;
mod websocket_refusals;
