//! Every fault that the doctor can name, with a stable code for scripts, its meaning, cause and advice. It does not
//! know how a fault is found.

/// Declares each code with its texts in one place.
macro_rules! codes {
    ($($code:ident: $name:literal, $what:literal, $cause:literal, $advice:literal;)*) => {
        /// A diagnosed fault, with a stable name. `docs/doctor.md` lists all of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $what] $code,)*
        }

        impl Code {
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
        "It is misspelt, or only another DNS server knows it.",
        "Correct the name, or ask the DNS server that knows it.";
    NothingListens: "nothing-listens",
        "Nothing listens at this address and port: the connection was refused.",
        "The program is not running, or listens on another address.",
        "Start it, or correct the address.";
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
        "TLS was spoken to a server that speaks plain HTTP.",
        "The URL has wss:// or https://, and nothing at this port terminates TLS.",
        "Write ws:// or http://, or terminate TLS in front of this port.";
    TlsBehindPlain: "tls-behind-plain",
        "Plain HTTP was spoken to a server that speaks TLS.",
        "The URL has ws:// or http://, or the gateway's endpoint is a TLS port.",
        "Write wss:// or https://, or name the plain port of the service.";
    CertificateExpired: "certificate-expired",
        "The certificate has expired.",
        "It was not renewed, or the server still serves the old one.",
        "Renew the certificate and reload the server that terminates TLS.";
    CertificateNotYetValid: "certificate-not-yet-valid",
        "The certificate is not valid yet.",
        "It was issued for later, or a clock is wrong.",
        "Compare the clocks of both machines.";
    CertificateOtherName: "certificate-other-name",
        "The certificate is for another name.",
        "The server's certificate does not list the host of the URL.",
        "Use a name that the certificate lists, or add this name to it.";
    CertificateUnknownIssuer: "certificate-unknown-issuer",
        "The certificate's issuer is not trusted here.",
        "It is self-signed, comes from a private authority, or the server leaves out the \
         intermediate certificate.",
        "Serve the whole chain; for a private authority, name its root with --ca.";
    CertificateBad: "certificate-bad",
        "The certificate is invalid for this server.",
        "It is malformed, revoked, or issued for another purpose.",
        "Obtain a certificate for a server.";
    TlsFailed: "tls-failed",
        "The TLS handshake failed.",
        "Both sides share no version or cipher, or the server requires a client certificate.",
        "Check the TLS settings of the server.";
    Http2Only: "http2-only",
        "The server speaks only HTTP/2; the request was HTTP/1.1.",
        "WebSocket and the gateway's upstreams need HTTP/1.1.",
        "Let the service speak HTTP/1.1 as well, or name its HTTP/1.1 port.";
    NotHttp: "not-http",
        "The response is not HTTP.",
        "Another service listens at this port.",
        "Correct the port.";
    ClosedBeforeAnswer: "closed-before-answer",
        "The connection was closed before a response.",
        "The server crashed on the request, or refuses this client without a response.",
        "Check the server's log at this time.";
    NoAnswer: "no-answer",
        "The connection was accepted, and no response came in time.",
        "The service hangs, or waits for another service.",
        "Check what the service waits for; a slow one may need --timeout.";
    HeadTooLarge: "head-too-large",
        "The head of the response is larger than 64 KiB.",
        "The service sends too many or too long headers.",
        "Look for cookies or headers that grow.";
    NoRoute: "no-route",
        "No route of the gateway matches this host and path.",
        "The path, the host or a condition differs from those of every route.",
        "Correct the URL, or add a route that matches it.";
    WebSocketOff: "websocket-off",
        "WebSocket is switched off on the route.",
        "The route has `websocket: off`.",
        "Remove that line, or write `websocket: on`.";
    OriginRefused: "origin-refused",
        "Pages of this origin are not allowed.",
        "The origin is not in the list of allowed origins.",
        "Add the origin, as scheme://host[:port], to `websocket.origins` of the route, or to `cors.allow_origins`.";
    UpgradeLost: "upgrade-lost",
        "A hop removed the request to upgrade.",
        "A proxy in between removes `Upgrade` and `Connection: Upgrade`, or speaks HTTP/1.0.",
        "Configure that proxy to forward both headers, over HTTP/1.1 (see docs/doctor.md).";
    UpstreamUnreachable: "upstream-unreachable",
        "The gateway can't reach the service behind it.",
        "Nothing listens at the endpoint where the gateway connects.",
        "Start the service, or correct the endpoint.";
    UpstreamUnresolved: "upstream-unresolved",
        "The gateway has no address of the service behind it.",
        "The endpoint's name does not resolve where the gateway runs.",
        "Correct the name in the endpoint, or the DNS of the gateway's machine.";
    UpstreamTimeout: "upstream-timeout",
        "The service behind the gateway did not answer in time.",
        "It hangs, it is slow, or a firewall drops the packets.",
        "Check what the service waits for, or raise `timeouts.read` of the route.";
    UpstreamCertificate: "upstream-certificate",
        "The certificate of the service behind the gateway is invalid for it.",
        "It has expired, is for another name, or the upstream's `tls` does not trust its issuer.",
        "Set `tls.ca` of the upstream to its authority, or `tls.server_name` to its name.";
    UpstreamFailed: "upstream-failed",
        "The service behind the gateway closed the connection or broke the protocol.",
        "It is not an HTTP/1.1 service, or it crashed on the request.",
        "Check the service's log, and `error.message` in the gateway's access log.";
    RequestTooLarge: "request-too-large",
        "The request is larger than the limit.",
        "The URL or the headers (cookies, tokens) are too long.",
        "Shorten them, or raise the limit (`limits` of the gateway).";
    GatewayError: "gateway-error",
        "The gateway failed on the request.",
        "A filter failed.",
        "Look up the request id in the gateway's log.";
    NotAWebSocket: "not-a-websocket",
        "The handshake was answered as an ordinary request.",
        "This path has a page or an API, not a WebSocket.",
        "Correct the path, or the `rewrite.prefix` that changes it.";
    Redirected: "redirected",
        "The handshake was answered with a redirect, which no browser follows.",
        "The server expects another scheme, host or path.",
        "Connect to the target of the redirect.";
    BadRequest: "bad-request",
        "The request was answered 400.",
        "The request is malformed or lacks a parameter.",
        "Check the response's body and the server's log.";
    Unauthorized: "unauthorized",
        "The request was answered 401: credentials are missing or wrong.",
        "The server requires a token or a cookie.",
        "Send it with --header, or in the query.";
    Forbidden: "forbidden",
        "The request was answered 403.",
        "The credentials do not suffice, or a rule of the server forbids it.",
        "Check the server's rules; if a page connects, try --origin.";
    NotFound: "not-found",
        "The request was answered 404.",
        "The server has nothing at this path.",
        "Correct the path, or the `rewrite.prefix` that changes it.";
    MethodNotAllowed: "method-not-allowed",
        "The request was answered 405: GET is not allowed here.",
        "A WebSocket handshake is a GET, and the path or the route allows only other methods.",
        "Allow GET for the path or in the route's `methods`.";
    UpgradeRequired: "upgrade-required",
        "The handshake was answered 426.",
        "The server got no request to upgrade, or expects another WebSocket version.",
        "Check whether the service speaks WebSocket version 13.";
    TooManyRequests: "too-many-requests",
        "The request was answered 429.",
        "A rate limit or connection limit is reached.",
        "Wait, or raise the limit.";
    RequestRefused: "request-refused",
        "The request was answered with a 4xx error.",
        "The server refuses it.",
        "Check the response's body and the server's log.";
    BadGateway: "bad-gateway",
        "The request was answered 502.",
        "A proxy on the path can't reach its upstream.",
        "Check the log of the proxy that answered.";
    Unavailable: "unavailable",
        "The request was answered 503.",
        "The service is overloaded or temporarily down.",
        "Check whether the service runs and has capacity.";
    GatewayTimeout: "gateway-timeout",
        "The request was answered 504.",
        "A proxy on the path got no response from its upstream.",
        "Check the log of the proxy that answered.";
    ServiceError: "service-error",
        "The request was answered with a 5xx error.",
        "The service failed.",
        "Check the service's log.";
    WrongAcceptKey: "wrong-accept-key",
        "The handshake was accepted with a wrong `Sec-WebSocket-Accept`.",
        "The response belongs to another request (a cache), or the server computes the key wrongly.",
        "Correct the server; make sure that no hop caches a 101.";
    BadSwitch: "bad-switch",
        "The response is a 101 without `Upgrade: websocket` and `Connection: Upgrade`.",
        "The server, or a proxy on the path, drops these headers.",
        "Forward both headers.";
    SubprotocolMismatch: "subprotocol-mismatch",
        "The server chose a subprotocol that was not offered, or none.",
        "Client and service do not share a subprotocol.",
        "Offer one that the service speaks; a browser fails the connection otherwise.";
    UnaskedExtension: "unasked-extension",
        "The server enabled an extension that was not offered.",
        "It ignores `Sec-WebSocket-Extensions`.",
        "Switch compression off in the service, or correct it.";
    ClosedAtOnce: "closed-at-once",
        "The connection was cut as soon as it was open: browsers call it 1006.",
        "The service drops the connection after the handshake, because of a crash or a check.",
        "Check the service's log; the service should give the reason in a close frame.";
    ClosedByService: "closed-by-service",
        "The service closed the WebSocket as soon as it was open.",
        "It does not accept this session; the close code says why.",
        "Look up the close code in the service; 1008 and 4xxx are the service's own rules.";
    BadFrames: "bad-frames",
        "The bytes after the handshake are not WebSocket frames.",
        "The service or a proxy writes other bytes into the connection.",
        "Make sure that no hop adds bytes to the stream.";
    NoPong: "no-pong",
        "A ping got no pong in time.",
        "The service does not read its socket, or a hop holds the pong back.",
        "Check whether the service reads while it works; compare with --upstream.";
    ProxyBuffering: "proxy-buffering",
        "A hop holds back what the service sends immediately.",
        "A proxy in between buffers.",
        "Switch buffering off there (see docs/doctor.md).";
    BodyWithheld: "body-withheld",
        "The response started, and its body did not arrive in time.",
        "The service has sent no body yet, or a hop holds it back.",
        "Compare with --upstream.";
    IdleCut: "idle-cut",
        "The connection was ended while it was idle.",
        "A hop or the service closes idle connections.",
        "Send pings more often than that, or raise the timeout.";
    IdleDead: "idle-dead",
        "After the idle time the connection looked open, and nothing answered.",
        "A NAT or firewall has forgotten the connection.",
        "Send pings more often than that.";
    CorsMissing: "cors-missing",
        "Pages of this origin can't read the response: `Access-Control-Allow-Origin` is missing.",
        "The origin is not allowed, or neither gateway nor service handles CORS.",
        "Add the origin to `cors.allow_origins` of the gateway, or handle CORS in the service.";
    CorsDoubled: "cors-doubled",
        "`Access-Control-Allow-Origin` is sent twice, which browsers refuse.",
        "Both the service and a proxy add it.",
        "Let only one of them handle CORS.";
    CorsOtherOrigin: "cors-other-origin",
        "`Access-Control-Allow-Origin` names another origin.",
        "The service allows one origin, or a cache serves another page's response.",
        "Allow the origin, and send `Vary: Origin`.";
    PreflightRefused: "preflight-refused",
        "The response to the preflight is not a 2xx that allows this origin.",
        "OPTIONS reaches a service that does not handle it, or requires credentials for it.",
        "Answer preflights at the gateway (`cors`), before authentication.";
    EndpointFails: "endpoint-fails",
        "One endpoint of the upstream fails, while it works through the gateway.",
        "The gateway used another endpoint; a share of the requests meets this one.",
        "Repair the endpoint, or remove it from the list.";
}
