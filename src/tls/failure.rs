//! Why a client's TLS handshake failed. It knows nothing of logs or metrics.

use rustls::{AlertDescription, Error};
use std::io::{self, ErrorKind};

/// Why a client's handshake failed, in the kinds that operators act on differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// The client does not speak TLS.
    NotTls,
    /// It took too long.
    Timeout,
    /// The client disconnected, as load balancers do that only probe the port.
    Closed,
    /// Client and gateway have no version, cipher or protocol in common.
    Incompatible,
    /// The client lacks the required certificate of a trusted authority.
    ClientCertificate,
    /// The client rejects the gateway's certificate.
    CertificateRefused,
    /// Anything else.
    Other,
}

impl HandshakeFailure {
    /// All kinds, each at the index of its number.
    pub(crate) const ALL: [Self; 7] = [
        Self::NotTls,
        Self::Timeout,
        Self::Closed,
        Self::Incompatible,
        Self::ClientCertificate,
        Self::CertificateRefused,
        Self::Other,
    ];

    /// Its label in metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Incompatible => "incompatible",
            Self::ClientCertificate => "client_certificate",
            Self::CertificateRefused => "certificate_refused",
            Self::Other => "other",
        }
    }

    /// The kind of an error of a handshake.
    pub(crate) fn from_error(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match (tls, error.kind()) {
            (Some(error), _) => Self::from_tls_error(error),
            (
                None,
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe,
            ) => Self::Closed,
            (None, ErrorKind::TimedOut) => Self::Timeout,
            (None, _) => Self::Other,
        }
    }

    fn from_tls_error(error: &Error) -> Self {
        match error {
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible,
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) => {
                Self::ClientCertificate
            }
            Error::AlertReceived(alert) => Self::from_alert(*alert),
            _ => Self::Other,
        }
    }

    /// RFC 8446, section 6.
    fn from_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => Self::Closed,
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol => Self::Incompatible,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnrecognisedName
            | AlertDescription::BadCertificateStatusResponse => Self::CertificateRefused,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_index_equals_its_discriminant() {
        for (index, failure) in HandshakeFailure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, index, "{failure:?}");
        }
    }

    #[test]
    fn handshake_errors_map_to_their_failure() {
        let tls = |error| io::Error::new(ErrorKind::InvalidData, error);
        for (error, expected) in [
            (ErrorKind::UnexpectedEof.into(), HandshakeFailure::Closed),
            (ErrorKind::ConnectionReset.into(), HandshakeFailure::Closed),
            (ErrorKind::PermissionDenied.into(), HandshakeFailure::Other),
            (tls(Error::NoApplicationProtocol), HandshakeFailure::Incompatible),
            (tls(Error::NoCertificatesPresented), HandshakeFailure::ClientCertificate),
            (
                tls(Error::AlertReceived(AlertDescription::UnknownCA)),
                HandshakeFailure::CertificateRefused,
            ),
            (
                tls(Error::AlertReceived(AlertDescription::ProtocolVersion)),
                HandshakeFailure::Incompatible,
            ),
            (tls(Error::AlertReceived(AlertDescription::UserCanceled)), HandshakeFailure::Closed),
            (tls(Error::DecryptError), HandshakeFailure::Other),
        ] {
            assert_eq!(HandshakeFailure::from_error(&error), expected, "{error}");
        }
    }
}
