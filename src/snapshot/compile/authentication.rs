//! Compiles `authentication` and `require`: builds the schemes, keeps those of the snapshot in force whose settings have
//! not changed, and reports errors. Verifies nothing.

mod api_keys;
mod basic;
mod ext_authz;
mod forward;
mod jwt;
mod oidc;

use super::built_in::{BuiltIn, compiled};
use super::{Compiler, header_name};
use crate::authentication::{ClaimRule, ClaimTest, Requirement, Scheme, TokenSource, UserSource};
use crate::filter::AuthenticationFilter;
use crate::snapshot::KeptScheme;
use http::header;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use tidegate_config::{
    self as config, AuthenticationScheme, ClaimMatch, Require, RequireSetting, Spanned, defaults,
    did_you_mean,
};

pub(super) const FILTER: BuiltIn = BuiltIn {
    keys: &["require", "authentication"],
    for_all: |compiler| compiled(compiler.require(compiler.config.require.as_ref(), "require")),
    for_route: |compiler, route, inherited| match &route.written.require {
        Some(setting) => compiled(compiler.require(Some(setting), &route.path_of("require"))),
        None => inherited,
    },
};

/// The word that requires nothing.
const OFF: &str = "off";

impl Compiler<'_> {
    /// Builds the schemes of `authentication`.
    pub(super) fn schemes(&mut self) {
        let config = self.config;
        for (name, written) in &config.authentication {
            let key_path = format!("authentication.{name}");
            if name == OFF {
                let reason = "a scheme must not have the name `off`, which requires nothing";
                self.problems.add(written.span, key_path, reason);
                continue;
            }
            // What is read from files is part of the settings: a scheme with new keys is a new scheme.
            let (scheme, serialised) = match &written.value {
                AuthenticationScheme::Jwt(jwt) => self.jwt(name, jwt, &format!("{key_path}.jwt")),
                AuthenticationScheme::ApiKeys(keys) => {
                    self.api_keys(name, keys, &format!("{key_path}.api_keys"))
                }
                AuthenticationScheme::Basic(basic) => {
                    self.basic(name, basic, &format!("{key_path}.basic"))
                }
                AuthenticationScheme::Forward(forward) => {
                    self.forward(name, forward, &format!("{key_path}.forward"))
                }
                AuthenticationScheme::ExtAuthz(written) => {
                    self.ext_authz(name, written, &format!("{key_path}.ext_authz"))
                }
                AuthenticationScheme::Oidc(oidc) => {
                    self.oidc(name, oidc, &format!("{key_path}.oidc"))
                }
            }
            .unzip();
            if let (Some(scheme), Some(serialised)) = (scheme, serialised) {
                let kept = self.env.previous.and_then(|previous| previous.schemes.get(name));
                let kept = kept.filter(|kept| kept.serialised == serialised);
                let scheme = kept.map_or(scheme, |kept| Arc::clone(&kept.scheme));
                let settings = Self::settings_of(&written.value);
                self.schemes.insert(name.clone(), KeptScheme { serialised, settings, scheme });
            }
        }
    }

    /// What is written of a scheme, in a serialised form. A default that is written out changes nothing.
    fn settings_of<T: Serialize + JsonSchema>(written: &T) -> String {
        // What is written has no map whose keys are not text.
        let mut settings = serde_json::to_value(written).unwrap_or_default();
        defaults::fill_in(&T::schema_name(), &mut settings);
        Self::fill_in_defaults(&mut settings);
        settings.to_string()
    }

    /// Writes the defaults into the parts of a scheme.
    fn fill_in_defaults(settings: &mut Value) {
        for (key, type_name) in [
            ("jwt", "Jwt"),
            ("keys", "JwtKeys"),
            ("api_keys", "ApiKeys"),
            ("basic", "Basic"),
            ("forward", "Forward"),
            ("oidc", "Oidc"),
            ("cookie", "OidcCookie"),
        ] {
            if let Some(part) = settings.get_mut(key).filter(|part| part.is_object()) {
                defaults::fill_in(type_name, part);
                Self::fill_in_defaults(part);
            }
        }
    }

    /// The serialised settings of a scheme that reads a file: what is written, and a hash of what the file holds.
    fn settings_with_file<T: Serialize + JsonSchema>(written: &T, content: &str) -> String {
        let content = ring::digest::digest(&ring::digest::SHA256, content.as_bytes());
        format!("{} {content:?}", Self::settings_of(written))
    }

    /// The filter that admits only verified senders, if the route requires that.
    fn require(
        &mut self,
        written: Option<&Spanned<RequireSetting>>,
        key_path: &str,
    ) -> Option<AuthenticationFilter> {
        let written = written?;
        let mut schemes: Vec<Arc<dyn Scheme>> = Vec::new();
        let mut serialised = Vec::new();
        let mut add = |compiler: &mut Self, name: &str, span, key_path: String| {
            if let Some(kept) = compiler.schemes.get(name) {
                serialised.push(kept.settings.clone());
                schemes.push(Arc::clone(&kept.scheme));
            } else {
                compiler.no_such_scheme(name, span, key_path);
            }
        };
        let nothing = Require { any: Vec::new(), claims: Default::default(), user_matches: None };
        let settings = match &written.value {
            RequireSetting::Scheme(scheme) if scheme.as_str() == OFF => return None,
            RequireSetting::Scheme(scheme) => {
                add(self, scheme.as_str(), written.span, key_path.to_owned());
                &nothing
            }
            RequireSetting::Settings(settings) => {
                for (index, name) in settings.any.iter().enumerate() {
                    add(self, name, name.span, format!("{key_path}.any[{index}]"));
                }
                settings
            }
        };
        let claims = settings.claims.iter();
        let claims =
            claims.filter_map(|(claim, test)| self.claim_rule(claim, test, key_path)).collect();
        let user_matches = settings.user_matches.as_ref().and_then(|source| match &source.value {
            config::UserSource::Query(name) => Some(UserSource::Query(name.clone())),
            config::UserSource::Cookie(name) => Some(UserSource::Cookie(name.clone())),
            config::UserSource::Header(name) => header_name(name).map(UserSource::Header),
        });
        let requirement = Arc::new(Requirement { schemes: schemes.into(), claims, user_matches });
        serialised.push(requirement.to_string());
        let serialised = serialised.join("\n");
        let user_id = self.user_id();
        let sessions = Arc::clone(&self.sessions);
        Some(AuthenticationFilter { requirement, user_id, sessions, serialised })
    }

    fn claim_rule(
        &mut self,
        claim: &str,
        written: &Spanned<ClaimMatch>,
        key_path: &str,
    ) -> Option<ClaimRule> {
        let test = match &written.value {
            ClaimMatch::Equals(value) => ClaimTest::Equals(value.as_str().to_owned()),
            ClaimMatch::Condition(condition) => match (&condition.contains, &*condition.any_of) {
                (Some(value), []) => ClaimTest::Contains(vec![value.value.clone()]),
                (None, [_, ..]) => ClaimTest::AnyOf(
                    condition.any_of.iter().map(|value| value.value.clone()).collect(),
                ),
                _ => {
                    if !self.broken.is_any_within(key_path) {
                        let reason = "needs either `contains` or `any_of`";
                        self.problems.add(
                            written.span,
                            format!("{key_path}.claims.{claim}"),
                            reason,
                        );
                    }
                    return None;
                }
            },
        };
        Some(ClaimRule { claim: claim.to_owned(), test })
    }

    fn no_such_scheme(&mut self, name: &str, span: config::Span, key_path: String) {
        let is_declared = self.config.authentication.contains_key(name);
        if is_declared || self.broken.is_any_within("authentication") {
            // Its own errors are reported.
            return;
        }
        let guess = did_you_mean(name, self.config.authentication.keys().map(String::as_str));
        let reason = format!("there is no scheme `{name}` under `authentication`");
        let problem = self.problems.add(span, key_path, reason);
        if let Some(guess) = guess {
            problem.help(format!("did you mean `{guess}`?"));
        }
    }

    /// Refuses places without a name.
    fn check_token_sources(&mut self, written: &[Spanned<config::TokenSource>], key_path: &str) {
        for (index, source) in written.iter().enumerate() {
            let (config::TokenSource::Subprotocol(name)
            | config::TokenSource::Cookie(name)
            | config::TokenSource::Query(name)) = &source.value
            else {
                continue;
            };
            if name.is_empty() {
                let key_path = format!("{key_path}[{index}]");
                self.problems.add(source.span, key_path, "must not be empty");
            }
        }
    }

    /// Where clients put a token; `Authorization` is read as this scheme of RFC 9110.
    fn token_sources(written: &[Spanned<config::TokenSource>]) -> Vec<TokenSource> {
        let source = |source: &Spanned<config::TokenSource>| match &source.value {
            config::TokenSource::Header(name) => match header_name(name)? {
                header::AUTHORIZATION => Some(TokenSource::Authorization("Bearer")),
                name => Some(TokenSource::Header(name)),
            },
            config::TokenSource::Subprotocol(prefix) => {
                Some(TokenSource::Subprotocol(prefix.clone()))
            }
            config::TokenSource::Cookie(name) => Some(TokenSource::Cookie(name.clone())),
            config::TokenSource::Query(name) => Some(TokenSource::Query(name.clone())),
        };
        written.iter().filter_map(source).collect()
    }
}
