//! Logins of browsers with OpenID Connect, against an issuer of the test's own.

mod browser;
mod configuration;
mod forgery;
mod issuer;
mod login;
mod logout;
mod refresh;
mod sockets;
