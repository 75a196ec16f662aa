//! What can be wrong, each by a name that scripts may rely on.

/// Writes the names, and what there is to say of each, in one place.
macro_rules! codes {
    ($($code:ident: $name:literal, $what:literal, $cause:literal, $advice:literal;)*) => {
        /// What is wrong, by a stable name. `docs/doctor.md` lists them all.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $what] $code,)*
        }

        impl Code {
            /// All of them, in the order in which a connection meets them.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }

            /// What is wrong.
            pub fn what(self) -> &'static str {
                match self { $(Self::$code => $what,)* }
            }

            /// Why it usually is so.
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
        "It is misspelt, or known to another DNS server than this machine's.",
        "Correct the name, or ask the DNS server that knows it.";
    NothingListens: "nothing-listens",
        "Nothing listens at this address and port: the connection was refused.",
        "The program does not run, or listens on another address.",
        "Start it, or correct the address.";
    WrongPort: "wrong-port",
        "Nothing listens at this port, and the gateway's configuration has no listener on it.",
        "The URL names another port than the listener.",
        "Use the listener's port in the URL, or change the listener.";
    ConnectTimeout: "connect-timeout",
        "The connection was neither accepted nor refused.",
        "A firewall drops the packets, the host is off, or its queue of connections is full.",
        "Open the port in the firewall, or see whether the host runs.";
    Unreachable: "unreachable",
        "There is no way to this address from here.",
        "The network is down, or the address belongs to another one.",
        "Correct the address, or the routing to it.";
    PlainBehindTls: "plain-behind-tls",
        "TLS was spoken to a server that speaks plain HTTP.",
        "The URL says wss:// or https://, and nothing at this port ends TLS.",
        "Write ws:// or http://, or put what ends TLS in front of this port.";
    TlsBehindPlain: "tls-behind-plain",
        "Plain HTTP was spoken to a server that speaks TLS.",
        "The URL says ws:// or http://, or the gateway's endpoint is a TLS port.",
        "Write wss:// or https://, or name the plain port of the service.";
    CertificateExpired: "certificate-expired",
        "The certificate has expired.",
        "It was not renewed, or the server still serves the old one.",
        "Renew the certificate and reload the server that ends TLS.";
    CertificateNotYetValid: "certificate-not-yet-valid",
        "The certificate is not valid yet.",
        "It was issued for later, or a clock is wrong.",
        "Compare the clocks of both machines.";
    CertificateOtherName: "certificate-other-name",
        "The certificate is of another name.",
        "The server's certificate does not list the host of the URL.",
        "Use a name that the certificate lists, or have this name added.";
    CertificateUnknownIssuer: "certificate-unknown-issuer",
        "The certificate's issuer is not trusted here.",
        "It is self-signed, comes from a private authority, or the server leaves out the \
         intermediate certificate.",
        "Serve the whole chain; for a private authority, name its root with --ca.";
    CertificateBad: "certificate-bad",
        "The certificate is not good for this server.",
        "It is malformed, revoked, or made for another purpose.",
        "Have a certificate issued for a server.";
    TlsFailed: "tls-failed",
        "The TLS handshake failed.",
        "Both sides share no version or cipher, or the server wants a client's certificate.",
        "See the TLS settings of the server.";
    Http2Only: "http2-only",
        "The server speaks HTTP/2 alone; the request was HTTP/1.1.",
        "WebSocket and the gateway's upstreams need HTTP/1.1.",
        "Let the service speak HTTP/1.1 as well, or name its HTTP/1.1 port.";
    NotHttp: "not-http",
        "What answers is not HTTP.",
        "Another service listens at this port.",
        "Correct the port.";
    ClosedBeforeAnswer: "closed-before-answer",
        "The connection was closed before any answer came.",
        "The server crashed over the request, or refuses this client without a word.",
        "See the server's log for this moment.";
    NoAnswer: "no-answer",
        "The connection was accepted, and no answer came in time.",
        "The service hangs, or waits for something behind it.",
        "See what the service waits for; a slow one may need --timeout.";
    HeadTooLarge: "head-too-large",
        "The head of the answer is larger than 64 KiB.",
        "The service sends too many or too long header fields.",
        "Look for cookies or fields that grow.";
    NoRoute: "no-route",
        "No route of the gateway takes this host and path.",
        "The path, the host or a condition differs from those of every route.",
        "Correct the URL, or add a route that matches it.";
    WebSocketOff: "websocket-off",
        "WebSocket is switched off on the route.",
        "The route says `websocket: off`.",
        "Take that line out, or say `websocket: on`.";
    OriginRefused: "origin-refused",
        "Pages of this origin are not let in.",
        "The origin is not in the list of those that are allowed.",
        "Add the origin, as scheme://host[:port], to `websocket.origins` of the route, or to `cors.allow_origins`.";
    UpgradeLost: "upgrade-lost",
        "The request to upgrade was lost on the way.",
        "A proxy in between removes `Upgrade` and `Connection: Upgrade`, or speaks HTTP/1.0.",
        "Let that proxy pass both fields on, over HTTP/1.1 (see docs/doctor.md).";
    UpstreamUnreachable: "upstream-unreachable",
        "The gateway can't reach the service behind it.",
        "Nothing listens at the endpoint, seen from the gateway.",
        "Start the service, or correct the endpoint.";
    UpstreamUnresolved: "upstream-unresolved",
        "The gateway has no address of the service behind it.",
        "The endpoint's name does not resolve where the gateway runs.",
        "Correct the name in the endpoint, or the DNS of the gateway's machine.";
    UpstreamTimeout: "upstream-timeout",
        "The service behind the gateway did not answer in time.",
        "It hangs, it is slow, or a firewall drops what is sent to it.",
        "See what the service waits for, or raise `timeouts.read` of the route.";
    UpstreamCertificate: "upstream-certificate",
        "The certificate of the service behind the gateway is not good for it.",
        "It has expired, is of another name, or its issuer is not one that the upstream's `tls` trusts.",
        "Name its authority in `tls.ca` of the upstream, or the name that it bears in `tls.server_name`.";
    UpstreamFailed: "upstream-failed",
        "The service behind the gateway closed the connection or broke the protocol.",
        "It is no HTTP/1.1 service, or it crashed over the request.",
        "See the service's log, and `error.message` in the gateway's.";
    RequestTooLarge: "request-too-large",
        "The request is larger than is allowed.",
        "The URL or the header fields (cookies, tokens) are too long.",
        "Shorten them, or raise the limit (`limits` of the gateway).";
    GatewayError: "gateway-error",
        "The gateway failed on the request.",
        "A filter failed.",
        "Look up the request id in the gateway's log.";
    NotAWebSocket: "not-a-websocket",
        "The handshake was answered as an ordinary request.",
        "There is a page or an API at this path, and no WebSocket.",
        "Correct the path, or the `rewrite.prefix` that makes it.";
    Redirected: "redirected",
        "The handshake was answered with a redirect, which no browser follows.",
        "The server wants another scheme, host or path.",
        "Connect to where the redirect points.";
    BadRequest: "bad-request",
        "The request was answered 400.",
        "The server found the request malformed, or lacks a parameter.",
        "See the answer's body and the server's log.";
    Unauthorized: "unauthorized",
        "The request was answered 401: credentials are missing or wrong.",
        "The server wants a token or a cookie.",
        "Send it along with --header, or in the query.";
    Forbidden: "forbidden",
        "The request was answered 403.",
        "The credentials do not suffice, or a rule of the server forbids it.",
        "See the server's rules; with a page in play, try --origin.";
    NotFound: "not-found",
        "The request was answered 404.",
        "The server has nothing at this path.",
        "Correct the path, or the `rewrite.prefix` that makes it.";
    MethodNotAllowed: "method-not-allowed",
        "The request was answered 405: GET is not allowed here.",
        "A WebSocket handshake is a GET, and the path or the route takes others alone.",
        "Let the path or the route's `methods` take GET.";
    UpgradeRequired: "upgrade-required",
        "The handshake was answered 426.",
        "The server saw no request to upgrade, or wants another version of WebSocket.",
        "See whether the service speaks WebSocket version 13.";
    TooManyRequests: "too-many-requests",
        "The request was answered 429.",
        "A limit of rate or of connections is reached.",
        "Wait, or raise the limit.";
    RequestRefused: "request-refused",
        "The request was answered with an error of the 4xx kind.",
        "The server does not take it.",
        "See the answer's body and the server's log.";
    BadGateway: "bad-gateway",
        "The request was answered 502.",
        "A proxy on the way can't reach what is behind it.",
        "See the log of the proxy that answered.";
    Unavailable: "unavailable",
        "The request was answered 503.",
        "The service is overloaded or down for a while.",
        "See whether the service runs and has room.";
    GatewayTimeout: "gateway-timeout",
        "The request was answered 504.",
        "A proxy on the way got no answer from what is behind it.",
        "See the log of the proxy that answered.";
    ServiceError: "service-error",
        "The request was answered with an error of the 5xx kind.",
        "The service failed.",
        "See the service's log.";
    WrongAcceptKey: "wrong-accept-key",
        "The handshake was taken with a wrong `Sec-WebSocket-Accept`.",
        "The answer is not this request's: a cache, or a server that computes it wrongly.",
        "Correct the server; see that nothing on the way caches a 101.";
    BadSwitch: "bad-switch",
        "The answer is a 101 without `Upgrade: websocket` and `Connection: Upgrade`.",
        "The server, or a proxy on the way, drops these fields.",
        "Let both fields pass.";
    SubprotocolMismatch: "subprotocol-mismatch",
        "The subprotocol that was chosen is none that was offered, or none was chosen.",
        "Client and service do not share a subprotocol.",
        "Offer one that the service speaks; a browser fails the connection otherwise.";
    UnaskedExtension: "unasked-extension",
        "The server switched on an extension that was not asked for.",
        "It does not read `Sec-WebSocket-Extensions`.",
        "Switch compression off in the service, or correct it.";
    ClosedAtOnce: "closed-at-once",
        "The connection was cut as soon as it was open: browsers call it 1006.",
        "The service drops the connection after the handshake, by a crash or a check.",
        "See the service's log; it should say why in a close frame.";
    ClosedByService: "closed-by-service",
        "The service closed the WebSocket as soon as it was open.",
        "It does not accept this session; the close code says why.",
        "Look up the close code in the service; 1008 and 4xxx are its own rules.";
    BadFrames: "bad-frames",
        "What comes after the handshake are no WebSocket frames.",
        "The service or a proxy writes something else into the connection.",
        "See that nothing on the way adds to the stream.";
    NoPong: "no-pong",
        "A ping got no pong in time.",
        "The service does not read its socket, or something in between holds it back.",
        "See whether the service reads while it works; compare with --upstream.";
    ProxyBuffering: "proxy-buffering",
        "Something on the way holds back what the service sends at once.",
        "A proxy in between buffers.",
        "Switch buffering off there (see docs/doctor.md).";
    BodyWithheld: "body-withheld",
        "The answer began, and its body did not come in time.",
        "The service has nothing to say yet, or something in between holds it back.",
        "Compare with --upstream.";
    IdleCut: "idle-cut",
        "The connection was ended while it was idle.",
        "Somebody ends connections on which nothing is sent.",
        "Send pings more often than that, or raise the timeout.";
    IdleDead: "idle-dead",
        "After an idle while the connection looked open, and nothing answered.",
        "A NAT or firewall in between has forgotten it.",
        "Send pings more often than that.";
    CorsMissing: "cors-missing",
        "The answer lets no page of this origin read it: `Access-Control-Allow-Origin` is missing.",
        "The origin is not allowed, or nobody answers for CORS.",
        "Add the origin to `cors.allow_origins` of the gateway, or let the service answer.";
    CorsDoubled: "cors-doubled",
        "`Access-Control-Allow-Origin` is there twice, and browsers refuse that.",
        "Both the service and a proxy add it.",
        "Let one of them answer for CORS.";
    CorsOtherOrigin: "cors-other-origin",
        "`Access-Control-Allow-Origin` names another origin.",
        "The service knows one origin, or a cache serves another page's answer.",
        "Allow the origin, and send `Vary: Origin`.";
    PreflightRefused: "preflight-refused",
        "The preflight is not answered with a 2xx and leave for this origin.",
        "OPTIONS goes to a service that does not know it, or wants credentials for it.",
        "Answer preflights at the gateway (`cors`), before authentication.";
    EndpointFails: "endpoint-fails",
        "One endpoint of the upstream fails, while it works through the gateway.",
        "The gateway took another endpoint; every so many requests meet this one.",
        "Mend the endpoint, or take it out of the list.";
}
