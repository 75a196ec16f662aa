//! `tidegate kick`: closes sessions of a running gateway. It knows nothing of close frames.

use super::admin::{self, AdminEndpoint};
use crate::admin::paths;
use clap::{ArgGroup, Args};
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
Client and upstream each receive a close frame with the code and the reason. The client may
reconnect; it is not banned. With --revoke the gateway, and all that share its counters, refuse the
tokens that were issued until now to this verified user, and close the sessions that they opened.
Credentials without a time of issue, such as API keys, are refused for `revocation.remember`.

Examples:
  tidegate kick --user user-1
  tidegate kick --user user-1 --revoke
  tidegate kick --session 01a2071d-9677-7381-8962-17ab3a2753f8 --code 4001 --reason 'log in again'";

#[derive(Args)]
#[command(group(ArgGroup::new("whom").required(true).multiple(true).args(["user", "session", "route"])))]
pub(super) struct Kick {
    #[command(flatten)]
    endpoint: AdminEndpoint,
    /// Close all sessions of this user.
    #[arg(short, long, value_name = "USER", allow_hyphen_values = true)]
    user: Option<String>,
    /// Also revoke the user's logins: the gateways refuse the tokens that the user has now.
    #[arg(long, requires = "user", conflicts_with_all = ["session", "route"])]
    revoke: bool,
    /// Close the session with this ID.
    #[arg(short, long, value_name = "ID", allow_hyphen_values = true)]
    session: Option<String>,
    /// Close sessions of this route.
    #[arg(short, long, value_name = "ROUTE", allow_hyphen_values = true)]
    route: Option<String>,
    /// WebSocket close code: 1000 to 1003, 1007 to 1014, 3000 to 4999.
    #[arg(long, value_name = "CODE", default_value = "4001")]
    code: String,
    /// Reason in the close frame, at most 123 bytes.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "closed by the operator",
        allow_hyphen_values = true
    )]
    reason: String,
}

impl Kick {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        let target = admin::target(
            paths::SESSIONS_CLOSE,
            &[
                ("user", self.user.as_deref()),
                ("id", self.session.as_deref()),
                ("route", self.route.as_deref()),
                ("code", Some(&self.code)),
                ("reason", Some(&self.reason)),
                ("revoke", self.revoke.then_some("true")),
            ],
        );
        let answer = self.endpoint.request_json("POST", &target, "")?;
        println!("{} WebSocket sessions are closed with code {}", answer["closed"], self.code);
        if self.revoke {
            println!("what was issued to the user until now is refused; a later login is accepted");
        }
        Ok(())
    }
}
