use super::Compiler;
use crate::config::{self, Protocol, Spanned, Switch, UpstreamTlsSetting};
use crate::tls::{self, Certificate, ClientOptions, Fault, Identity, UpstreamTls};
use crate::upstream::Speech;
use pingora::protocols::ALPN;
use std::sync::Arc;

impl Compiler<'_> {
    /// How an upstream is spoken to.
    pub(super) fn speech(&mut self, written: &config::Upstream, name: &str) -> Speech {
        let at = format!("upstreams.{name}");
        let tls = written.tls.as_ref().and_then(|setting| match &setting.value {
            UpstreamTlsSetting::Switch(Switch(false)) => None,
            UpstreamTlsSetting::Switch(Switch(true)) => {
                self.upstream_tls(&config::UpstreamTls::default(), setting, name)
            }
            UpstreamTlsSetting::Settings(settings) => self.upstream_tls(settings, setting, name),
        });
        let has_tls = written.tls.as_ref().is_some_and(|setting| {
            !matches!(setting.value, UpstreamTlsSetting::Switch(Switch(false)))
        });
        let at = format!("{at}.protocols");
        for protocol in &written.protocols {
            match (protocol.value, has_tls) {
                (Protocol::H2c, true) => {
                    self.problems
                        .add(protocol.span, &*at, "`h2c` is HTTP/2 without TLS")
                        .help("this upstream has TLS: write `h2`");
                }
                (Protocol::H2, false) => {
                    self.problems
                        .add(protocol.span, &*at, "`h2` is HTTP/2 over TLS, which is not set up")
                        .help("add `tls: on`, or write `h2c` for HTTP/2 without TLS");
                }
                _ => {}
            }
        }
        let speaks =
            |wanted: Protocol| written.protocols.iter().any(|protocol| protocol.value == wanted);
        if speaks(Protocol::H2c) && speaks(Protocol::H1) {
            let reason = "without TLS nothing settles which of both it is: choose one";
            self.problems.add(
                written.protocols.first().map_or_else(Default::default, |it| it.span),
                &*at,
                reason,
            );
        }
        let alpn = match (speaks(Protocol::H2) || speaks(Protocol::H2c), speaks(Protocol::H1)) {
            (true, true) => ALPN::H2H1,
            (true, false) => ALPN::H2,
            (false, _) => ALPN::H1,
        };
        Speech { tls, alpn }
    }

    fn upstream_tls<T>(
        &mut self,
        written: &config::UpstreamTls,
        whole: &Spanned<T>,
        name: &str,
    ) -> Option<Arc<UpstreamTls>> {
        let at = format!("upstreams.{name}.tls");
        let mut options = ClientOptions {
            server_name: written.server_name.as_ref().map(|name| name.as_str().to_owned()),
            insecure: written.insecure_skip_verify,
            ..ClientOptions::default()
        };
        if let Some(ca) = &written.ca {
            let path = self.path(ca);
            match tls::roots(&path).and_then(|roots| Ok((roots, tls::certificates(&path)?))) {
                Ok((roots, certificates)) => {
                    options.ca = Some(roots);
                    options.ca_certificates = certificates;
                }
                Err(reason) => {
                    self.problems.add(ca.span, format!("{at}.ca"), reason);
                    return None;
                }
            }
        }
        if let Some(pair) = &written.client_certificate {
            let (cert, key) = (self.path(&pair.cert), self.path(&pair.key));
            let at = format!("{at}.client_certificate");
            let loaded = Certificate::load(&cert, &key)
                .and_then(|_| Identity::load(&cert, &key).map_err(Fault::Certificate));
            match loaded {
                Ok(identity) => options.identity = Some(identity),
                Err(Fault::Certificate(reason)) => {
                    self.problems.add(pair.cert.span, format!("{at}.cert"), reason);
                    return None;
                }
                Err(Fault::Key(reason)) => {
                    self.problems.add(pair.key.span, format!("{at}.key"), reason);
                    return None;
                }
            }
        }
        match UpstreamTls::new(options) {
            Ok(tls) => Some(Arc::new(tls)),
            Err(reason) => {
                self.problems.add(whole.span, at, reason);
                None
            }
        }
    }
}
