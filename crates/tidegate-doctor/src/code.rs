//! Every fault that the doctor can name, with a stable code for scripts, its meaning, cause and advice. It does not
//! know how a fault is found.

/// Declares each code with its texts in one place.
macro_rules! codes {
    ($($code:ident: $name:literal, $what:literal, $cause:literal, $advice:literal;)*) => {
        /// A diagnosed fault, with a stable name. `docs/doctor.md` lists all of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum DiagnosisCode {
            $(#[doc = $what] $code,)*
        }

        impl DiagnosisCode {
            /// All codes, in the order of a connection's steps.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }

            /// What is wrong.
            pub fn what(self) -> &'static str {
                match self { $(Self::$code => $what,)* }
            }

            /// The usual cause.
            pub fn cause(self) -> &'static str {
                match self { $(Self::$code => $cause,)* }
            }

            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$code => $advice,)* }
            }
        }
    };
}

codes! {
    NameUnknown: "name-unknown",
        "The host name does not resolve.",
        "The name is misspelt, or only another DNS server knows it.",
        "Correct the name, or use a DNS server that knows it.";
    NothingListens: "nothing-listens",
        "Nothing listens at this address and port: the connection was refused.",
        "The program is not running, or listens on another address.",
        "Start the program, or correct the address.";
    WrongPort: "wrong-port",
        "Nothing listens at this port, and the gateway's configuration has no listener on it.",
        "The URL names another port than the listener.",
        "Use the listener's port in the URL, or change the listener.";
    ConnectTimeout: "connect-timeout",
        "The connection was neither accepted nor refused.",
        "A firewall drops the packets, the host is off, or its queue of connections is full.",
        "Open the port in the firewall, or check whether the host runs.";
    Unreachable: "unreachable",
        "This address is unreachable from here.",
        "The network is down, or the address belongs to another network.",
        "Correct the address, or the network's routing.";
    PlainBehindTls: "plain-behind-tls",
        "The client used TLS, but the server expects plain HTTP.",
        "The URL has wss:// or https://, and nothing at this port terminates TLS.",
        "Write ws:// or http://, or terminate TLS in front of this port.";
    TlsBehindPlain: "tls-behind-plain",
        "The client used plain HTTP, but the server expects TLS.",
        "The URL has ws:// or http://, or the gateway's endpoint is a TLS port.",
        "Write wss:// or https://, or name the plain port of the service.";
    CertificateExpired: "certificate-expired",
        "The certificate has expired.",
        "The certificate was not renewed, or the server still serves the old one.",
        "Renew the certificate and reload the server that terminates TLS.";
    CertificateNotYetValid: "certificate-not-yet-valid",
        "The certificate is not valid yet.",
        "The validity of the certificate begins later, or a clock is wrong.",
        "Compare the clocks of both machines.";
    CertificateOtherName: "certificate-other-name",
        "The certificate is for another name.",
        "The server's certificate does not list the host of the URL.",
        "Use a name that the certificate lists, or add this name to it.";
    CertificateUnknownIssuer: "certificate-unknown-issuer",
        "The certificate's issuer is not trusted here.",
        "The certificate is self-signed or from a private authority, or the server does not send the \
         intermediate certificate.",
        "Serve the whole chain; for a private authority, name its root with --ca.";
    CertificateBad: "certificate-bad",
        "The certificate is invalid for this server.",
        "The certificate is malformed, revoked, or issued for another purpose.",
        "Obtain a valid server certificate.";
    TlsFailed: "tls-failed",
        "The TLS handshake failed.",
        "Both sides share no version or cipher, or the server requires a client certificate.",
        "Check the TLS settings of the server.";
    Http2Only: "http2-only",
        "The server supports only HTTP/2, but the request was HTTP/1.1.",
        "WebSocket needs HTTP/1.1, and so do upstreams without `h2` or `h2c` in `protocols`.",
        "Enable HTTP/1.1 in the service, or use its HTTP/1.1 port.";
    NotHttp: "not-http",
        "The response is not HTTP.",
        "Another service listens at this port.",
        "Correct the port.";
    ClosedBeforeAnswer: "closed-before-answer",
        "The server closed the connection without a response.",
        "The server crashed on the request, or rejects this client without a response.",
        "Check the server's log at this time.";
    NoAnswer: "no-answer",
        "The server accepted the connection, but did not respond in time.",
        "The service hangs, or waits for another service.",
        "Check what the service waits for; if it is slow, raise --timeout.";
    HeadTooLarge: "head-too-large",
        "The headers of the response are larger than 64 KiB.",
        "The service sends too many or too long headers.",
        "Look for cookies or headers that grow with each response.";
    NoRoute: "no-route",
        "No route of the gateway matches this host and path.",
        "The path, the host or a condition differs from those of every route.",
        "Correct the URL, or add a route that matches it.";
    Http1Disabled: "http1-disabled",
        "The gateway's listener accepts only HTTP/2, but the request was HTTP/1.1.",
        "The listener's `protocols` do not contain `h1`.",
        "Add `h1` to the listener's `protocols`, or use HTTP/2.";
    LoopDetected: "loop-detected",
        "The request passed through the gateway before: an upstream forwards it back to the gateway.",
        "An endpoint of the upstream is the gateway itself, or a proxy in front of it.",
        "Correct the endpoints of the upstream.";
    WebSocketOff: "websocket-off",
        "WebSocket is switched off on the route.",
        "The route has `websocket: off`.",
        "Remove `websocket: off` from the route, or write `websocket: on`.";
    OriginRefused: "origin-refused",
        "Pages of this origin are not allowed.",
        "The origin is not in the list of allowed origins.",
        "Add the origin, as scheme://host[:port], to `websocket.origins` of the route, or to `cors.allow_origins`.";
    UpgradeLost: "upgrade-lost",
        "A proxy removed the headers that request a WebSocket.",
        "A proxy between client and service removes `Upgrade` and `Connection: Upgrade`, or uses HTTP/1.0.",
        "Configure that proxy to forward both headers, over HTTP/1.1 (see docs/doctor.md).";
    UpstreamUnreachable: "upstream-unreachable",
        "The gateway cannot connect to the upstream service.",
        "Nothing listens at the endpoint to which the gateway connects.",
        "Start the service, or correct the endpoint.";
    UpstreamUnresolved: "upstream-unresolved",
        "The gateway knows no address of the upstream service.",
        "The endpoint's host name does not resolve where the gateway runs, or discovery found no endpoint.",
        "Correct the name in the endpoint, the discovery, or the DNS of the gateway's machine.";
    UpstreamBusy: "upstream-busy",
        "The upstream has as many connections or requests as its `limits` allow.",
        "More clients use the service than the limits of the upstream expect, or requests take too long.",
        "Raise `limits` of the upstream, or add endpoints.";
    UpstreamTimeout: "upstream-timeout",
        "The upstream service did not respond to the gateway in time.",
        "The service hangs or is slow, or a firewall drops the packets.",
        "Check what the service waits for, or raise `timeouts.read` of the route.";
    UpstreamCertificate: "upstream-certificate",
        "The gateway does not accept the TLS certificate of the upstream service.",
        "The certificate has expired or is for another name, or the upstream's `tls` does not trust its \
         issuer.",
        "Set `tls.ca` of the upstream to the certificate authority, or `tls.server_name` to the name in \
         the certificate.";
    UpstreamFailed: "upstream-failed",
        "The upstream service closed the connection early or violated the protocol.",
        "The service does not support HTTP/1.1, or crashed on the request.",
        "Check the service's log, and `error.message` in the gateway's access log.";
    UpstreamTlsFailed: "upstream-tls-failed",
        "The TLS handshake between the gateway and the upstream service failed.",
        "The upstream's `tls` does not match the endpoint: its certificate, its TLS versions, or a port without TLS.",
        "Compare `tls` of the upstream with the endpoint; the gateway's log has the reason.";
    RequestTooLarge: "request-too-large",
        "The request is larger than a limit allows.",
        "The URL or the headers (cookies, tokens) are too long.",
        "Shorten the URL or the headers, or raise the limit (`limits` of the gateway).";
    GatewayError: "gateway-error",
        "The gateway failed while it handled the request.",
        "A filter or the gateway itself failed.",
        "Look up the request id in the gateway's log.";
    NotAWebSocket: "not-a-websocket",
        "The server answered the WebSocket handshake like an ordinary HTTP request.",
        "The path leads to a page or an API, not to a WebSocket.",
        "Correct the path, or the `rewrite.prefix` that changes it.";
    Redirected: "redirected",
        "The server answered the WebSocket handshake with a redirect, which browsers do not follow.",
        "The server expects another scheme, host or path.",
        "Connect to the target of the redirect.";
    BadRequest: "bad-request",
        "The server answered 400: the request is invalid.",
        "The request is malformed, or lacks a parameter or a required PROXY protocol header.",
        "Check the response's body and the server's log.";
    Unauthorized: "unauthorized",
        "The server answered 401: credentials are missing or wrong.",
        "The server requires a token or a cookie.",
        "Send the credentials with --header, as a subprotocol with --protocol, or in the query.";
    Forbidden: "forbidden",
        "The server answered 403: access is forbidden.",
        "The credentials do not grant access, or a rule of the server forbids the request.",
        "Check the server's access rules. If browsers can connect, pass the page's origin with --origin.";
    NotFound: "not-found",
        "The server answered 404: the path does not exist.",
        "The server has nothing at this path.",
        "Correct the path, or the `rewrite.prefix` that changes it.";
    MethodNotAllowed: "method-not-allowed",
        "The server answered 405: GET is not allowed for this path.",
        "A WebSocket handshake is a GET, and the path or the route allows only other methods.",
        "Allow GET for the path or in the route's `methods`.";
    UpgradeRequired: "upgrade-required",
        "The server answered the handshake with 426: it expects a different upgrade.",
        "The server received no upgrade headers, or expects another WebSocket version.",
        "Check whether the service supports WebSocket version 13.";
    TooManyRequests: "too-many-requests",
        "Too many requests or connections: the server has reached a limit.",
        "A rate limit or connection limit is reached.",
        "Wait before the next request, or raise the limit.";
    RequestRefused: "request-refused",
        "The server rejected the request.",
        "The server's own checks refuse it; the body often says why.",
        "Check the response's body and the server's log.";
    BadGateway: "bad-gateway",
        "A proxy answered 502: its upstream failed.",
        "A proxy on the path cannot reach its upstream.",
        "Check the log of the proxy that answered.";
    Unavailable: "unavailable",
        "The server answered 503: the service is unavailable.",
        "The service, or a proxy in front of it, is overloaded, draining or in maintenance.",
        "Try again later; check whether the server runs and has capacity.";
    GatewayTimeout: "gateway-timeout",
        "A proxy answered 504: its upstream did not respond in time.",
        "A proxy on the path got no response from its upstream.",
        "Check the log of the proxy that answered.";
    ServiceError: "service-error",
        "The server failed with a 5xx status.",
        "The service has a bug or lacks something it depends on.",
        "Check the service's log.";
    WrongAcceptKey: "wrong-accept-key",
        "The server accepted the handshake with a wrong `Sec-WebSocket-Accept` header.",
        "The response belongs to another request (a cache), or the server computes the key wrongly.",
        "Correct the server; make sure that no proxy caches a 101 response.";
    BadSwitch: "bad-switch",
        "The response is a 101 without `Upgrade: websocket` and `Connection: Upgrade`.",
        "The server, or a proxy on the path, drops these headers.",
        "Make the server or proxy send both headers.";
    SubprotocolMismatch: "subprotocol-mismatch",
        "The server chose a subprotocol that was not offered, or none.",
        "Client and service do not share a subprotocol.",
        "Offer a subprotocol that the service supports; otherwise browsers fail the connection.";
    UnaskedExtension: "unasked-extension",
        "The server enabled an extension that was not offered.",
        "The server ignores the header `Sec-WebSocket-Extensions`.",
        "Turn compression off in the service, or correct the service.";
    ClosedAtOnce: "closed-at-once",
        "The WebSocket connection ended right after the handshake, without a close frame (browsers \
         report 1006).",
        "The service drops the connection after the handshake, because of a crash or a check.",
        "Check the service's log; the service should give the reason in a close frame.";
    ClosedByService: "closed-by-service",
        "The service closed the WebSocket right after the handshake, with a close frame.",
        "The service does not accept this session; the close code gives the reason.",
        "Look up the close code in the service; 1008 and 4000 to 4999 mean a rule of the service.";
    BadFrames: "bad-frames",
        "The bytes after the handshake are not WebSocket frames.",
        "The service or a proxy writes other bytes into the connection.",
        "Make sure that no proxy adds bytes to the stream.";
    NoPong: "no-pong",
        "The server did not answer a ping with a pong in time.",
        "The service does not read its socket, or a proxy holds the pong back.",
        "Check whether the service reads its socket while it is busy; test it directly with --upstream.";
    ProxyBuffering: "proxy-buffering",
        "A proxy delays response data that the service sends immediately.",
        "A proxy between client and service buffers responses.",
        "Turn response buffering off in that proxy (see docs/doctor.md).";
    BodyWithheld: "body-withheld",
        "The response headers arrived, but the body did not arrive in time.",
        "The service has not sent the body yet, or a proxy holds it back.",
        "Test the service directly with --upstream.";
    IdleCut: "idle-cut",
        "The connection was closed while it was idle.",
        "A proxy or the service closes idle connections.",
        "Send pings more often than this time, or raise the idle timeout.";
    IdleDead: "idle-dead",
        "After the idle time the connection still looked open, but the server no longer answered.",
        "A NAT device or firewall has dropped its state of the connection.",
        "Send pings more often than this time.";
    CorsMissing: "cors-missing",
        "Pages of this origin cannot read the response: `Access-Control-Allow-Origin` is missing.",
        "The origin is not allowed, or neither gateway nor service handles CORS.",
        "Add the origin to `cors.allow_origins` of the gateway, or handle CORS in the service.";
    CorsDoubled: "cors-doubled",
        "The response has two `Access-Control-Allow-Origin` headers, which browsers reject.",
        "Both the service and a proxy add the header.",
        "Let only the gateway or only the service handle CORS.";
    CorsOtherOrigin: "cors-other-origin",
        "The header `Access-Control-Allow-Origin` of the response names another origin.",
        "The service allows only another origin, or a cache serves the response to another page.",
        "Allow the origin, and send `Vary: Origin`.";
    PreflightRefused: "preflight-refused",
        "The CORS preflight failed: its response is not a 2xx status that allows this origin.",
        "The OPTIONS request reaches a service that does not handle it or requires credentials for it.",
        "Answer preflights at the gateway (`cors`), before authentication.";
    EndpointFails: "endpoint-fails",
        "One endpoint of the upstream fails, although the request through the gateway works.",
        "The gateway used another endpoint; some requests go to the failing one.",
        "Repair the endpoint, or remove it from the upstream's `endpoints`.";
}
