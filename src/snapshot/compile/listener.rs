//! Compiles the listeners and their TLS settings. It opens no socket.

use super::Compiler;
use super::clients::client_lists;
use crate::snapshot::{FileFingerprint, Listener, TlsListener};
use crate::tls::{
    self, Certificate, CertificateError, Certificates, ClientAuth, ServerOptions, server_config,
};
use http::HeaderValue;
use std::path::PathBuf;
use std::sync::Arc;
use tidegate_config::{
    self as config, ClientAuthMode, HstsSetting, Protocol, RedirectToHttps, Spanned, Switch,
    defaults,
};
use tidegate_http::address::Address;
use tidegate_http::url::HTTPS_PORT;

impl Compiler<'_> {
    pub(super) fn listeners(&mut self) -> Vec<Arc<Listener>> {
        let mut listeners: Vec<Arc<Listener>> = Vec::new();
        for (index, written) in self.config.listeners.iter().enumerate() {
            let key_path = format!("listeners[{index}]");
            let address = written.address.0.clone();
            let tls = written.tls.as_ref().and_then(|tls| self.tls(tls, written, &key_path));
            self.check_protocols(written, &key_path);
            let proxy_protocol = written.proxy_protocol.iter().flat_map(|proxy| &proxy.from);
            listeners.push(Arc::new(Listener {
                address,
                h1: written.protocols.is_empty() || speaks(written, Protocol::H1),
                h2c: speaks(written, Protocol::H2c),
                connections: written.connections,
                tls,
                redirect_to: self.redirect_to(written, &key_path),
                clients: client_lists(&written.clients),
                proxy_protocol: proxy_protocol.map(|cidr| cidr.0).collect(),
            }));
        }
        listeners
    }

    /// The permissions of Unix domain sockets.
    pub(super) fn modes(&mut self) -> Vec<u32> {
        let mut modes = Vec::new();
        for (index, listener) in self.config.listeners.iter().enumerate() {
            let written = listener.mode.as_ref();
            let mode = written.map_or(defaults::listener::MODE, |it| it.as_str());
            let mode = u32::from_str_radix(mode, 8).ok();
            let is_unix = matches!(listener.address.0, Address::Unix(_));
            let reason = match mode {
                None | Some(0o1000..) => "must be permissions in octal such as `\"0660\"`",
                Some(_) if written.is_some() && !is_unix => {
                    "only the address of a Unix domain socket can have a `mode`"
                }
                Some(_) => "",
            };
            if let (Some(written), false) = (written, reason.is_empty()) {
                self.problems.add(written.span, format!("listeners[{index}].mode"), reason);
            }
            modes.push(mode.unwrap_or_default());
        }
        modes
    }

    fn check_protocols(&mut self, written: &config::Listener, key_path: &str) {
        let tls = format!("{key_path}.tls");
        let key_path = format!("{key_path}.protocols");
        for protocol in &written.protocols {
            match (protocol.value, written.tls.is_some()) {
                (Protocol::H2c, true) => {
                    self.problems
                        .add(protocol.span, &*key_path, "`h2c` is HTTP/2 without TLS")
                        .help("this listener has TLS: write `h2`");
                }
                (Protocol::H2, false) if self.broken.is_any_within(&tls) => {}
                (Protocol::H2, false) => {
                    self.problems
                        .add(
                            protocol.span,
                            &*key_path,
                            "`h2` is HTTP/2 over TLS, which is not set up",
                        )
                        .help("add `tls`, or write `h2c` for HTTP/2 without TLS");
                }
                _ => {}
            }
        }
    }

    fn redirect_to(&mut self, written: &config::Listener, key_path: &str) -> Option<u16> {
        let redirect = written.redirect_to_https.as_ref()?;
        let port = match &redirect.value {
            RedirectToHttps::Switch(Switch(false)) => return None,
            RedirectToHttps::Switch(Switch(true)) => HTTPS_PORT,
            RedirectToHttps::Port(to) => to.port,
        };
        if written.tls.is_some() {
            let reason = "this listener has TLS, so its requests already use HTTPS";
            self.problems.add(redirect.span, format!("{key_path}.redirect_to_https"), reason);
        }
        Some(port)
    }

    fn tls(
        &mut self,
        written: &Spanned<config::ListenerTls>,
        listener: &config::Listener,
        key_path: &str,
    ) -> Option<TlsListener> {
        let key_path = format!("{key_path}.tls");
        let problems_before = self.problems.iter().count();
        let mut certificates = Vec::new();
        for (index, certificate) in written.certificates.iter().enumerate() {
            let key_path = format!("{key_path}.certificates[{index}]");
            certificates.extend(self.certificate(certificate, &key_path));
        }
        if written.self_signed {
            match tls::self_signed() {
                Ok(made) => certificates.push((made.clone(), made.names)),
                Err(reason) => {
                    self.problems.add(written.span, format!("{key_path}.self_signed"), reason);
                }
            }
        }
        let acme =
            written.acme.as_ref().and_then(|acme| self.acme(acme, &format!("{key_path}.acme")));
        if written.certificates.is_empty() && written.acme.is_none() && !written.self_signed {
            self.problems
                .add(written.span, &*key_path, "the listener has TLS and no certificate")
                .help("add `certificates: [{cert: …, key: …}]`, `acme`, or `self_signed: true`");
        }
        let client_auth = written.client_auth.as_ref().and_then(|auth| {
            let path = self.path(&auth.ca);
            match tls::roots(&path) {
                Ok(roots) => {
                    Some(ClientAuth { roots, is_optional: auth.mode == ClientAuthMode::Request })
                }
                Err(reason) => {
                    self.problems.add(auth.ca.span, format!("{key_path}.client_auth.ca"), reason);
                    None
                }
            }
        });
        if self.problems.iter().count() > problems_before {
            return None;
        }
        let sources = acme.iter().map(|managed| Arc::clone(managed) as _).collect();
        let certificates = Arc::new(Certificates::new(certificates, sources));
        let speaks_all = listener.protocols.is_empty();
        let options = ServerOptions {
            certificates: Arc::clone(&certificates),
            tls12: written.min_version.unwrap_or(defaults::listener_tls::MIN_VERSION)
                == config::TlsVersion::V1_2,
            protocols: (
                speaks_all || speaks(listener, Protocol::H2),
                speaks_all || speaks(listener, Protocol::H1),
            ),
            client_auth,
        };
        match server_config(&options) {
            Ok(config) => Some(TlsListener {
                config: Arc::new(config),
                certificates,
                acme,
                hsts: written.hsts.as_ref().and_then(hsts).map(Arc::new),
            }),
            Err(reason) => {
                self.problems.add(written.span, key_path, reason);
                None
            }
        }
    }

    fn certificate(
        &mut self,
        written: &config::Certificate,
        key_path: &str,
    ) -> Option<(Certificate, Vec<String>)> {
        let (cert, key) = (self.path(&written.cert), self.path(&written.key));
        match Certificate::load(&cert, &key) {
            Ok(certificate) => {
                let hosts = written.hosts.iter().map(|host| host.as_str().to_owned());
                let names = match written.hosts.is_empty() {
                    true => certificate.names.clone(),
                    false => hosts.collect(),
                };
                Some((certificate, names))
            }
            Err(CertificateError::Certificate(reason)) => {
                self.problems.add(written.cert.span, format!("{key_path}.cert"), reason);
                None
            }
            Err(CertificateError::Key(reason)) => {
                self.problems.add(written.key.span, format!("{key_path}.key"), reason);
                None
            }
        }
    }

    /// The path as seen from the folder of the file that it is written in. The file behind it is
    /// followed from here on.
    pub(super) fn path(&mut self, written: &Spanned<String>) -> PathBuf {
        let path = self.sources.folder(written.span).join(&written.value);
        self.files.insert(path.clone(), FileFingerprint::from_path(&path));
        path
    }
}

fn speaks(listener: &config::Listener, protocol: Protocol) -> bool {
    listener.protocols.iter().any(|spoken| spoken.value == protocol)
}

fn hsts(written: &HstsSetting) -> Option<HeaderValue> {
    let plain = config::Hsts::default();
    let settings = match written {
        HstsSetting::Switch(Switch(false)) => return None,
        HstsSetting::Switch(Switch(true)) => &plain,
        HstsSetting::Settings(settings) => settings,
    };
    let max_age = settings.max_age.unwrap_or(defaults::hsts::MAX_AGE).0.as_secs();
    let subdomains = if settings.include_subdomains { "; includeSubDomains" } else { "" };
    let preload = if settings.preload { "; preload" } else { "" };
    HeaderValue::try_from(format!("max-age={max_age}{subdomains}{preload}")).ok()
}
