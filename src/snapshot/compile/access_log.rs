//! Compiles `access_log`, and opens its file. It knows nothing of the lines.

use super::{Compiler, header_name};
use crate::telemetry::keys::FieldKey;
use crate::telemetry::{AccessLog, AccessLogFormat, FieldNames, LineSink, LogTarget, Sampling};
use http::HeaderName;
use std::io;
use std::sync::Arc;
use tidegate_config::defaults::{access_log, access_log_sample};
use tidegate_config::{
    self as config, AccessLogSetting, AuthenticationScheme, Span, Spanned, TokenSource,
};
use tidegate_http::secret::{SecretNames, is_unloggable_field};

impl Compiler<'_> {
    /// Names whose values are written nowhere.
    pub(super) fn secret_names(&self) -> SecretNames {
        let written = match &self.config.access_log {
            AccessLogSetting::Switch(_) => None,
            AccessLogSetting::Settings(settings) => settings.redact_query.as_deref(),
        };
        let names = written.map(SecretNames::with_names).unwrap_or_default();
        names.adding(self.token_places().filter_map(|place| match place {
            TokenSource::Query(name) => Some(name.as_str()),
            TokenSource::Header(_) | TokenSource::Cookie(_) | TokenSource::Subprotocol(_) => None,
        }))
    }

    /// Where clients put tokens and keys.
    fn token_places(&self) -> impl Iterator<Item = &TokenSource> {
        let schemes = self.config.authentication.values();
        let places = schemes.flat_map(|scheme| match &scheme.value {
            AuthenticationScheme::Jwt(jwt) => jwt.from.as_slice(),
            AuthenticationScheme::ApiKeys(keys) => keys.from.as_slice(),
            _ => &[],
        });
        places.map(|place| &place.value)
    }

    /// The access log, unless it is off. One that goes where the one before went goes on with it.
    pub(super) fn access_log(&mut self) -> Option<AccessLog> {
        let defaults = config::AccessLog::default();
        let written = match &self.config.access_log {
            AccessLogSetting::Switch(switch) if !switch.0 => return None,
            AccessLogSetting::Switch(_) => &defaults,
            AccessLogSetting::Settings(settings) => settings,
        };
        let path = written.path.as_ref();
        let target = match path.map_or(access_log::PATH, |path| path.as_str()) {
            "stdout" => LogTarget::Stdout,
            "stderr" => LogTarget::Stderr,
            name => LogTarget::File(
                self.sources.folder(path.map_or_else(Span::default, |path| path.span)).join(name),
            ),
        };
        // Before there is a place to write to, which a mere check has none of.
        let fields = FieldNames {
            request: self.log_fields(&written.fields.request, "request", FieldKey::of_request),
            response: self.log_fields(&written.fields.response, "response", FieldKey::of_response),
        };
        let kept = self
            .env
            .previous
            .and_then(|previous| previous.global.access_log.as_ref())
            .map(|log| log.sink())
            .filter(|sink| *sink.target() == target);
        let sink = match kept {
            Some(sink) => Arc::clone(sink),
            None => match self.open_sink(&target) {
                Ok(sink) => Arc::new(sink?),
                // A listener's socket is there, which was reported.
                Err(_) if self.problems.iter().any(|it| it.path() == "access_log.path") => {
                    return None;
                }
                Err(error) => {
                    let reason = format!("cannot open {target}: {error}");
                    let span = written.path.as_ref().map_or_else(Span::default, |path| path.span);
                    self.problems.add(span, "access_log.path", reason);
                    return None;
                }
            },
        };
        let format = match written.format.unwrap_or(access_log::FORMAT) {
            config::LogFormat::Json => AccessLogFormat::Json,
            config::LogFormat::Text => AccessLogFormat::Text,
        };
        let sample = &written.sample;
        let sampling = Sampling([
            sample.informational.unwrap_or(access_log_sample::INFORMATIONAL),
            sample.successful.unwrap_or(access_log_sample::SUCCESSFUL),
            sample.redirection.unwrap_or(access_log_sample::REDIRECTION),
            sample.client_error.unwrap_or(access_log_sample::CLIENT_ERROR),
            sample.server_error.unwrap_or(access_log_sample::SERVER_ERROR),
        ]);
        Some(AccessLog::new(format, self.secret_names(), fields, sampling, sink))
    }

    /// A mere check opens none, but says what opening it would.
    fn open_sink(&self, target: &LogTarget) -> io::Result<Option<LineSink>> {
        if let LogTarget::File(path) = target {
            tidegate_disk::can_append(path)?;
        }
        (self.env.open_sink)(target.clone())
    }

    fn log_fields(
        &mut self,
        written: &[Spanned<config::HeaderName>],
        message: &str,
        key: fn(&HeaderName) -> FieldKey,
    ) -> Vec<(HeaderName, FieldKey)> {
        let mut fields = Vec::new();
        for (index, written) in written.iter().enumerate() {
            let Some(name) = header_name(&written.value) else { continue };
            let has_tokens = self.token_places().any(|place| match place {
                TokenSource::Header(header) => header.as_str().eq_ignore_ascii_case(name.as_str()),
                _ => false,
            });
            if has_tokens || is_unloggable_field(name.as_str()) {
                let key_path = format!("access_log.fields.{message}[{index}]");
                let reason = "this header carries secrets and is never logged";
                self.problems.add(written.span, key_path, reason);
            }
            let key = key(&name);
            fields.push((name, key));
        }
        fields
    }
}
