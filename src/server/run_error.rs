//! Why a gateway did not run, for programs and for people. It knows nothing of the steps of a start.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;
use tidegate_config::Problems;
use tidegate_http::address::Address;

/// Exit status for a configuration with errors (`EX_CONFIG` of sysexits.h).
pub(crate) const EXIT_BAD_CONFIGURATION: u8 = 78;

/// Why a gateway did not run.
///
/// `Display` says what failed, and [`source`](Error::source) why. `Debug` is for people as well and says both, for
/// that is what a `main` that returns the error prints.
#[non_exhaustive]
pub enum RunError {
    /// The configuration is wrong.
    Config(Problems),
    /// The gateway can't listen on an address.
    #[non_exhaustive]
    Listen {
        /// As the configuration names it.
        address: Address,
        /// Why not.
        source: io::Error,
    },
    /// The running gateway does not hand its listeners over.
    TakeOver(io::Error),
    /// The gateway can't receive signals.
    Signals(io::Error),
    /// The gateway can't connect to itself over loopback, which it needs for a moment to make the proxy.
    Loopback(io::Error),
    /// The worker threads can't be started, or one has panicked.
    Runtime(io::Error),
}

impl RunError {
    /// The status of a program that ends by it: 78 if the configuration is wrong, else 1.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(EXIT_BAD_CONFIGURATION),
            _ => ExitCode::FAILURE,
        }
    }

    /// Prints it to stderr with its causes, and returns the status to end with.
    pub fn report(&self) -> ExitCode {
        let kind = if matches!(self, Self::Config(_)) { "" } else { "error: " };
        eprintln!("{kind}{self:?}");
        self.exit_code()
    }
}

/// What `Display` of the error says of an address, if that is the whole reason.
fn known_reason(address: &Address, source: &io::Error) -> Option<String> {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            Some(format!("cannot listen on {address}: the address is in use by another process"))
        }
        io::ErrorKind::PermissionDenied if address.port().is_some_and(|port| port < 1024) => {
            Some(format!(
                "cannot listen on {address}: ports below 1024 need the capability CAP_NET_BIND_SERVICE; grant it, or use a \
                 higher port"
            ))
        }
        _ => None,
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(_) => f.write_str("the configuration is wrong"),
            Self::Listen { address, source } => match known_reason(address, source) {
                Some(reason) => f.write_str(&reason),
                None => write!(f, "cannot listen on {address}"),
            },
            Self::TakeOver(_) => f.write_str("cannot take over from the running gateway"),
            Self::Signals(_) => f.write_str("cannot install the signal handlers"),
            Self::Loopback(_) => {
                f.write_str("cannot start the proxy, which needs a loopback connection to itself")
            }
            Self::Runtime(_) => f.write_str("cannot start the worker threads"),
        }
    }
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Config(problems) = self {
            return problems.fmt(f);
        }
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(problems) => Some(problems),
            Self::Listen { address, source } => {
                known_reason(address, source).is_none().then_some(source)
            }
            Self::TakeOver(source)
            | Self::Signals(source)
            | Self::Loopback(source)
            | Self::Runtime(source) => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(address: &str, kind: io::ErrorKind) -> RunError {
        let address = address.parse().expect("an address");
        RunError::Listen { address, source: io::Error::new(kind, "why") }
    }

    #[test]
    fn error_and_its_source_say_what_failed_and_why_once_each() {
        let error = listen("127.0.0.1:8080", io::ErrorKind::AddrNotAvailable);
        assert_eq!(error.to_string(), "cannot listen on 127.0.0.1:8080");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("why"));
        assert_eq!(format!("{error:?}"), "cannot listen on 127.0.0.1:8080: why");
        let error = RunError::TakeOver(io::Error::other("why"));
        assert_eq!(format!("{error:?}"), "cannot take over from the running gateway: why");
    }

    #[test]
    fn known_reason_has_no_source_that_repeats_it() {
        let error = listen("127.0.0.1:80", io::ErrorKind::AddrInUse);
        assert_eq!(
            format!("{error:?}"),
            "cannot listen on 127.0.0.1:80: the address is in use by another process"
        );
        assert!(error.source().is_none());
        let error = listen("127.0.0.1:80", io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("CAP_NET_BIND_SERVICE"), "{error}");
        assert!(error.source().is_none());
        let error = listen("127.0.0.1:8080", io::ErrorKind::PermissionDenied);
        assert_eq!(format!("{error:?}"), "cannot listen on 127.0.0.1:8080: why");
    }
}
