//! One order of a certificate, from the account to the issued chain (RFC 8555). Knows nothing of when to order, nor of
//! listeners.

use super::AcmeSettings;
use super::client::AcmeClient;
use super::pending::PendingChallenges;
use super::retry_after::RetryAfter;
use super::store::AcmeStore;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, ExternalAccountKey,
    Identifier, Key, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::AcmeChallenge;
use tokio::time::sleep;

/// Maximum time of the validation by the authority, and again of the issuance.
const ORDER_TIMEOUT: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(Duration::from_secs(120));

/// Maximum wait between two polls of the result of the validation.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(60);

/// A chain and the key of its first certificate, both in PEM.
pub(super) struct IssuedCertificate {
    pub(super) chain: String,
    pub(super) key: String,
}

/// Orders a certificate (RFC 8555, section 7.4); a failure is described in words.
pub(super) async fn order(
    settings: &AcmeSettings,
    store: &AcmeStore,
    pending: &PendingChallenges,
    retry_after: &Arc<RetryAfter>,
) -> Result<IssuedCertificate, String> {
    let account = load_or_create_account(settings, store, retry_after).await?;
    let names: Vec<_> = settings.domains.iter().cloned().map(Identifier::Dns).collect();
    let new = NewOrder::new(&names);
    let mut order = match account.new_order(&new).await {
        Err(error) if is_unknown_account(&error) => {
            log::warn!(
                "the certificate authority {} no longer knows the ACME account in {}; the \
                 gateway registers a new account",
                settings.directory,
                store.account_file().display()
            );
            let account = register_again(settings, store, retry_after).await?;
            account.new_order(&new).await
        }
        order => order,
    }
    .map_err(in_words)?;
    complete_challenge(&mut order, settings, pending).await?;
    // The authority may say how long its checks take (RFC 8555, section 7.5.1).
    sleep(retry_after.remaining().unwrap_or_default().min(MAX_POLL_INTERVAL)).await;
    let proved = order.poll_ready(&ORDER_TIMEOUT).await;
    match proved {
        Ok(OrderStatus::Ready) => {}
        Ok(_) | Err(Error::Api(_)) => {
            let refused = authorization_errors(&mut order).await;
            return Err(refused.unwrap_or_else(|| match proved {
                Err(error) => in_words(error),
                Ok(status) => format!(
                    "the certificate authority did not accept the order (status `{}`)",
                    status_name(status)
                ),
            }));
        }
        Err(error) => return Err(in_words(error)),
    }
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let request = CertificateParams::new(settings.domains.clone())
        .and_then(|params| params.serialize_request(&key))
        .map_err(|error| error.to_string())?;
    order.finalize_csr(request.der()).await.map_err(in_words)?;
    let chain = order.poll_certificate(&ORDER_TIMEOUT).await.map_err(in_words)?;
    Ok(IssuedCertificate { chain, key: key.serialize_pem() })
}

/// The stored account, or a new one.
async fn load_or_create_account(
    settings: &AcmeSettings,
    store: &AcmeStore,
    retry_after: &Arc<RetryAfter>,
) -> Result<Account, String> {
    if let Some(kept) = store.load_account() {
        match serde_json::from_slice(&kept) {
            Ok(credentials) => {
                let builder = Account::builder_with_http(client(settings, retry_after)?);
                return builder.from_credentials(credentials).await.map_err(in_words);
            }
            Err(error) => log::error!(
                "the stored ACME account cannot be read: {error}; the gateway registers a new \
                 account"
            ),
        }
    }
    register_account(settings, store, retry_after).await
}

/// Whether the authority no longer knows the account (RFC 8555, section 6.7). A deactivated account does not count:
/// somebody deactivated it on purpose.
fn is_unknown_account(error: &Error) -> bool {
    let Error::Api(problem) = error else { return false };
    problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}

/// Another account by the same key, where the authority lets anybody have one (RFC 8555, section
/// 7.3.1: if it does know the key after all, it is that account).
async fn register_again(
    settings: &AcmeSettings,
    store: &AcmeStore,
    retry_after: &Arc<RetryAfter>,
) -> Result<Account, String> {
    let kept = store.load_account().and_then(|kept| {
        let credentials: AccountCredentials = serde_json::from_slice(&kept).ok()?;
        let der = credentials.private_key().clone_key();
        Some((Key::from_pkcs8_der(der.clone_key()).ok()?, PrivateKeyDer::Pkcs8(der)))
    });
    let (None, Some(key)) = (&settings.external_account, kept) else {
        return register_account(settings, store, retry_after).await;
    };
    let (account, credentials) = Account::builder_with_http(client(settings, retry_after)?)
        .create_from_key(key, settings.directory.clone())
        .await
        .map_err(in_words)?;
    store_credentials(&credentials, store)?;
    let contact = contact_addresses(settings);
    if !contact.is_empty() {
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        if let Err(error) = account.update_contacts(&contact).await {
            log::warn!(
                "the certificate authority rejects the email of the ACME account: {}; orders \
                 work without it",
                in_words(error)
            );
        }
    }
    Ok(account)
}

/// Registers a new account with a new key.
async fn register_account(
    settings: &AcmeSettings,
    store: &AcmeStore,
    retry_after: &Arc<RetryAfter>,
) -> Result<Account, String> {
    let contact = contact_addresses(settings);
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let external = settings.external_account.as_ref();
    let external = external.map(|(id, key)| ExternalAccountKey::new(id.clone(), key));
    let (account, credentials) = Account::builder_with_http(client(settings, retry_after)?)
        .create(&new, settings.directory.clone(), external.as_ref())
        .await
        .map_err(in_words)?;
    store_credentials(&credentials, store)?;
    Ok(account)
}

fn client(
    settings: &AcmeSettings,
    retry_after: &Arc<RetryAfter>,
) -> Result<Box<AcmeClient>, String> {
    Ok(Box::new(AcmeClient::new(settings.roots()?, Arc::clone(retry_after))?))
}

fn contact_addresses(settings: &AcmeSettings) -> Vec<String> {
    settings.email.iter().map(|email| format!("mailto:{email}")).collect()
}

fn store_credentials(credentials: &AccountCredentials, store: &AcmeStore) -> Result<(), String> {
    let credentials = serde_json::to_vec(credentials).map_err(|error| error.to_string())?;
    store
        .write_account(&credentials)
        .map_err(|error| format!("cannot store the ACME account: {error}"))
}

/// A status as it is written in orders (RFC 8555, section 7.1.6).
fn status_name(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Pending => "pending",
        OrderStatus::Ready => "ready",
        OrderStatus::Processing => "processing",
        OrderStatus::Valid => "valid",
        OrderStatus::Invalid => "invalid",
    }
}

/// Makes the challenges available and asks the authority to validate the names.
async fn complete_challenge(
    order: &mut Order,
    settings: &AcmeSettings,
    pending: &PendingChallenges,
) -> Result<(), String> {
    let kind = match settings.challenge {
        AcmeChallenge::Http01 => ChallengeType::Http01,
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(in_words)?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(kind.clone()) else {
            return Err(match settings.challenge {
                AcmeChallenge::Http01 => format!(
                    "the certificate authority offers no `http-01` challenge for {name}; write \
                     `challenge: tls-alpn-01`"
                ),
                AcmeChallenge::TlsAlpn01 => format!(
                    "the certificate authority offers no `tls-alpn-01` challenge for {name}; write \
                     `challenge: http-01`"
                ),
            });
        };
        let answer = challenge.key_authorization();
        match settings.challenge {
            AcmeChallenge::Http01 => pending.add_http_challenge(&challenge.token, answer.as_str()),
            AcmeChallenge::TlsAlpn01 => {
                pending.add_tls_challenge(&name, answer.digest().as_ref())?;
            }
        }
        challenge.set_ready().await.map_err(in_words)?;
    }
    Ok(())
}

/// Why the authority failed to validate the names, if it did.
async fn authorization_errors(order: &mut Order) -> Option<String> {
    let mut errors_by_name = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let name = state.identifier().to_string();
        let errors = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        errors_by_name.extend(errors.map(|error| format!("{name}: {}", problem_text(error))));
    }
    (!errors_by_name.is_empty()).then(|| errors_by_name.join("; "))
}

fn problem_text(problem: &instant_acme::Problem) -> String {
    let detail = problem.detail.as_deref().unwrap_or("no reason given");
    let kind = problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next());
    match (problem.status, kind) {
        (Some(status), Some(kind)) => format!("{status} {kind}: {detail}"),
        (Some(status), None) => format!("{status}: {detail}"),
        (None, Some(kind)) => format!("{detail} ({kind})"),
        (None, None) => detail.to_owned(),
    }
}

fn in_words(error: Error) -> String {
    if let Error::Api(problem) = &error {
        return problem_text(problem);
    }
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
