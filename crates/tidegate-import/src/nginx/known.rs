//! The directives that the import knows, and the note for each one that it does not convert. It does not know how the
//! others are converted.

use super::tree::Directive;
use crate::note::Notes;

/// Directives that are imported elsewhere, with notes on what cannot be imported of them.
const IMPORTED_DIRECTIVES: &[&str] = &[
    "add_header",
    "alias",
    "allow",
    "auth_basic",
    "auth_basic_user_file",
    "auth_jwt",
    "auth_request",
    "auth_request_set",
    "backup",
    "client_body_timeout",
    "client_header_timeout",
    "client_max_body_size",
    "default_type",
    "deny",
    "expires",
    "fastcgi_pass",
    "grpc_pass",
    "gzip",
    "gzip_comp_level",
    "gzip_min_length",
    "gzip_types",
    "hash",
    "http",
    "http2",
    "if",
    "index",
    "internal",
    "ip_hash",
    "keepalive",
    "keepalive_timeout",
    "least_conn",
    "limit_except",
    "limit_req",
    "limit_req_status",
    "limit_req_zone",
    "listen",
    "location",
    "memcached_pass",
    "proxy_connect_timeout",
    "proxy_hide_header",
    "proxy_http_version",
    "proxy_next_upstream",
    "proxy_next_upstream_tries",
    "proxy_pass",
    "proxy_read_timeout",
    "proxy_redirect",
    "proxy_send_timeout",
    "proxy_set_header",
    "proxy_ssl_name",
    "proxy_ssl_verify",
    "random",
    "return",
    "rewrite",
    "root",
    "satisfy",
    "scgi_pass",
    "secure_link",
    "server",
    "server_name",
    "set_real_ip_from",
    "ssl",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_client_certificate",
    "ssl_protocols",
    "ssl_verify_client",
    "try_files",
    "upstream",
    "uwsgi_pass",
    "valid_referers",
];

/// Directives about nginx's internals, or about what Tidegate does anyway.
const IGNORED_DIRECTIVES: &[&str] = &[
    "absolute_redirect",
    "accept_mutex",
    "charset",
    "client_body_buffer_size",
    "client_body_in_file_only",
    "client_body_temp_path",
    "client_header_buffer_size",
    "daemon",
    "directio",
    "events",
    "fastcgi_buffer_size",
    "fastcgi_buffers",
    "fastcgi_index",
    "fastcgi_param",
    "fastcgi_split_path_info",
    "fastcgi_temp_path",
    "gzip_buffers",
    "gzip_disable",
    "gzip_http_version",
    "gzip_proxied",
    "gzip_static",
    "gzip_vary",
    "ignore_invalid_headers",
    "keepalive_disable",
    "keepalive_requests",
    "large_client_header_buffers",
    "lingering_close",
    "load_module",
    "lock_file",
    "master_process",
    "multi_accept",
    "open_file_cache",
    "open_file_cache_errors",
    "open_file_cache_min_uses",
    "open_file_cache_valid",
    "pcre_jit",
    "pid",
    "port_in_redirect",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_headers_hash_bucket_size",
    "proxy_headers_hash_max_size",
    "proxy_max_temp_file_size",
    "proxy_request_buffering",
    "proxy_socket_keepalive",
    "proxy_ssl_server_name",
    "proxy_ssl_session_reuse",
    "proxy_temp_file_write_size",
    "proxy_temp_path",
    "real_ip_header",
    "real_ip_recursive",
    "recursive_error_pages",
    "reset_timedout_connection",
    "resolver",
    "resolver_timeout",
    "scgi_temp_path",
    "sendfile",
    "sendfile_max_chunk",
    "send_timeout",
    "server_name_in_redirect",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
    "server_tokens",
    "ssl_buffer_size",
    "ssl_ciphers",
    "ssl_dhparam",
    "ssl_early_data",
    "ssl_ecdh_curve",
    "ssl_prefer_server_ciphers",
    "ssl_session_cache",
    "ssl_session_ticket_key",
    "ssl_session_tickets",
    "ssl_session_timeout",
    "ssl_stapling",
    "ssl_stapling_verify",
    "ssl_trusted_certificate",
    "tcp_nodelay",
    "tcp_nopush",
    "thread_pool",
    "types",
    "types_hash_bucket_size",
    "types_hash_max_size",
    "underscores_in_headers",
    "use",
    "user",
    "uwsgi_temp_path",
    "variables_hash_bucket_size",
    "variables_hash_max_size",
    "worker_connections",
    "worker_cpu_affinity",
    "worker_priority",
    "worker_processes",
    "worker_rlimit_nofile",
    "worker_shutdown_timeout",
    "zone",
];

/// Directives whose counterpart the user must choose, or that have none.
const DIRECTIVE_HINTS: &[(&str, &str)] = &[
    ("access_log", "use `access_log` instead, one for the whole gateway"),
    ("error_log", "the gateway logs to stderr; use `log` instead"),
    ("log_format", "the lines are JSON; use `access_log` instead"),
    ("log_not_found", "use `access_log` instead"),
    ("error_page", "use `error_pages` instead, by status, for browsers"),
    ("proxy_intercept_errors", "use `error_pages.intercept` instead"),
    ("proxy_cache", "use `routes[].cache` instead"),
    ("proxy_cache_path", "use `cache` instead"),
    ("proxy_cache_valid", "use `routes[].cache.default_ttl` instead"),
    ("proxy_cache_key", "use `routes[].cache.key_headers` instead"),
    ("proxy_cache_use_stale", "use `routes[].cache.stale_if_error` instead"),
    ("proxy_cookie_path", "Tidegate passes cookies on unchanged"),
    ("proxy_cookie_domain", "Tidegate passes cookies on unchanged"),
    ("proxy_pass_header", "use `headers.response` instead"),
    ("proxy_ssl_certificate", "use `upstreams.NAME.tls.client_certificate` instead"),
    ("proxy_ssl_trusted_certificate", "use `upstreams.NAME.tls.ca` instead"),
    ("proxy_method", "Tidegate passes the client's method on"),
    ("proxy_pass_request_body", "Tidegate always passes the body on"),
    ("proxy_pass_request_headers", "Tidegate always passes the headers on"),
    ("limit_conn", "use `limits.connections_per_client` instead"),
    ("limit_conn_zone", "use `limits.connections_per_client` instead"),
    ("limit_rate", "Tidegate does not limit the rate of responses"),
    ("merge_slashes", "use `routes[].path: {duplicate_slashes: keep}` instead"),
    ("mirror", "use `routes[].mirror` instead"),
    ("split_clients", "use `routes[].split` instead"),
    ("map", "Tidegate has no user-defined variables; `Connection: upgrade` needs none"),
    ("geo", "Tidegate has no user-defined variables"),
    ("set", "Tidegate has no user-defined variables"),
    ("sub_filter", "Tidegate passes bodies on unchanged"),
    ("sub_filter_once", "Tidegate passes bodies on unchanged"),
    ("autoindex", "Tidegate does not list folders"),
    ("stub_status", "use `admin` instead, which has metrics for Prometheus"),
    ("stream", "Tidegate supports only HTTP and WebSocket"),
    ("mail", "Tidegate supports only HTTP and WebSocket"),
    ("sticky", "use `balance.sticky_cookie` instead"),
];

/// Names each directive that nothing reads.
pub(super) fn review(directives: &[Directive], notes: &mut Notes) {
    // What `auth_request` asks has no body.
    let is_internal = directives.iter().any(|directive| directive.name == "internal");
    for directive in directives {
        let name = directive.name.as_str();
        if is_ignored(directive) || is_internal && name == "proxy_pass_request_body" {
            continue;
        }
        if !IMPORTED_DIRECTIVES.contains(&name) && !IGNORED_DIRECTIVES.contains(&name) {
            let hint =
                DIRECTIVE_HINTS.iter().find(|(hinted, _)| *hinted == name).map(|(_, hint)| *hint);
            notes.left_out(
                &directive.position,
                match hint {
                    Some(hint) => format!("`{name}`: {hint}"),
                    None => format!("the import does not support `{name}`"),
                },
            );
            continue;
        }
        // An `if` is noted as a whole, and an ignored block is ignored with its content.
        if name != "if" && !IGNORED_DIRECTIVES.contains(&name) {
            review(directive.block.as_deref().unwrap_or_default(), notes);
        }
    }
}

/// Whether a directive does not matter with these arguments.
fn is_ignored(directive: &Directive) -> bool {
    let is_off = directive.argument(0) == Some("off");
    match directive.name.as_str() {
        // The usual variable for WebSockets, from the documentation of nginx.
        "map" => {
            directive.argument(0) == Some("$http_upgrade")
                && directive.argument(1) == Some("$connection_upgrade")
        }
        "merge_slashes" => !is_off,
        "access_log" | "proxy_cache" | "autoindex" | "limit_rate" | "log_not_found" => is_off,
        _ => false,
    }
}

/// Whether the value of `Connection` is one of the usual ones for WebSockets.
pub(super) fn is_upgrade(connection: &str) -> bool {
    ["upgrade", "$connection_upgrade", "$http_connection"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(connection))
}
