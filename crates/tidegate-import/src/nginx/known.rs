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
    "auth_jwt",
    "auth_request",
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
    "auth_basic_user_file",
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
    ("access_log", "see `access_log`, one for the whole gateway"),
    ("error_log", "the gateway's log goes to stderr; see `log`"),
    ("log_format", "lines are JSON; see `access_log`"),
    ("log_not_found", "see `access_log`"),
    ("error_page", "see `error_pages`, by status, for browsers"),
    ("proxy_intercept_errors", "see `error_pages.intercept`"),
    ("proxy_cache", "see `routes[].cache`"),
    ("proxy_cache_path", "see `cache`"),
    ("proxy_cache_valid", "see `routes[].cache.default_ttl`"),
    ("proxy_cache_key", "see `routes[].cache.key_headers`"),
    ("proxy_cache_use_stale", "see `routes[].cache.stale_if_error`"),
    ("proxy_cookie_path", "cookies are passed on as they are"),
    ("proxy_cookie_domain", "cookies are passed on as they are"),
    ("proxy_pass_header", "see `headers.response`"),
    ("proxy_ssl_certificate", "see `upstreams.NAME.tls.client_certificate`"),
    ("proxy_ssl_trusted_certificate", "see `upstreams.NAME.tls.ca`"),
    ("proxy_method", "the client's method is passed on"),
    ("proxy_pass_request_body", "the body is always passed on"),
    ("proxy_pass_request_headers", "they are always passed on"),
    ("limit_conn", "see `limits.connections_per_client`"),
    ("limit_conn_zone", "see `limits.connections_per_client`"),
    ("limit_rate", "responses are not slowed down"),
    ("merge_slashes", "see `routes[].path`: `{duplicate_slashes: keep}`"),
    ("mirror", "see `routes[].mirror`"),
    ("split_clients", "see `routes[].split`"),
    ("map", "variables of one's own are not there; one for `Connection: upgrade` is not needed"),
    ("geo", "variables of one's own are not there"),
    ("set", "variables of one's own are not there"),
    ("sub_filter", "bodies are passed on as they are"),
    ("sub_filter_once", "bodies are passed on as they are"),
    ("autoindex", "folders are not listed"),
    ("stub_status", "see `admin`, which has metrics for Prometheus"),
    ("stream", "Tidegate speaks HTTP and WebSocket alone"),
    ("mail", "Tidegate speaks HTTP and WebSocket alone"),
    ("sticky", "see `balance.sticky_cookie`"),
];

/// Names each directive that nothing reads.
pub(super) fn review(directives: &[Directive], notes: &mut Notes) {
    for directive in directives {
        let name = directive.name.as_str();
        if is_moot(directive) {
            continue;
        }
        if !IMPORTED_DIRECTIVES.contains(&name) && !IGNORED_DIRECTIVES.contains(&name) {
            let hint =
                DIRECTIVE_HINTS.iter().find(|(hinted, _)| *hinted == name).map(|(_, hint)| *hint);
            notes.left_out(
                &directive.position,
                match hint {
                    Some(hint) => format!("`{name}`: {hint}"),
                    None => format!("`{name}` is not known to the import"),
                },
            );
            continue;
        }
        // An `if` is told as a whole, and what is moot is moot within.
        if name != "if" && !IGNORED_DIRECTIVES.contains(&name) {
            review(directive.block.as_deref().unwrap_or_default(), notes);
        }
    }
}

/// A directive that matters only with other arguments.
fn is_moot(directive: &Directive) -> bool {
    let is_off = directive.argument(0) == Some("off");
    match directive.name.as_str() {
        // The variable that everybody makes for WebSockets.
        "map" => {
            directive.argument(0) == Some("$http_upgrade")
                && directive.argument(1) == Some("$connection_upgrade")
        }
        "merge_slashes" => !is_off,
        "access_log" | "proxy_cache" | "autoindex" | "limit_rate" | "log_not_found" => is_off,
        _ => false,
    }
}

/// Whether the variable behind `Connection` is the one that everybody makes.
pub(super) fn is_upgrade(connection: &str) -> bool {
    ["upgrade", "$connection_upgrade", "$http_connection"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(connection))
}
