//! A browser as far as logins need one: keeps cookies and navigates. It does not know the gateway.

use super::issuer::Issuer;
use std::collections::BTreeMap;
use tidegate_testing::{Gateway, Handshake, Response, until};

/// The header of a navigation.
pub(super) const HTML: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";

/// The path of the return from the issuer.
pub(super) const CALLBACK: &str = "/.tidegate/login/callback";

/// The path of the logout.
pub(super) const LOGOUT: &str = "/.tidegate/login/logout";

/// Cookies by name.
#[derive(Clone, Default)]
pub(super) struct Browser {
    pub(super) cookies: BTreeMap<String, String>,
}

impl Browser {
    /// A browser that has logged in.
    pub(super) async fn logged_in(gateway: &Gateway, issuer: &Issuer, subject: &str) -> Self {
        let mut browser = Self::default();
        let page = browser.log_in(gateway, issuer, "/", subject).await;
        assert_eq!(page.status(), 303, "{}", page.text());
        browser
    }

    /// Navigates to a target and logs in on the way: the response of the gateway to the return.
    pub(super) async fn log_in(
        &mut self,
        gateway: &Gateway,
        issuer: &Issuer,
        target: &str,
        subject: &str,
    ) -> Response {
        let location = self.begin(gateway, target).await;
        self.navigate(gateway, &issuer.log_in(&location, subject)).await
    }

    /// Navigates to a target: where the gateway sends the browser to log in. A gateway that has just begun may not have
    /// reached the issuer.
    pub(super) async fn begin(&mut self, gateway: &Gateway, target: &str) -> String {
        let mut location = None;
        until("the redirect to the issuer", async || {
            let answer = self.navigate(gateway, target).await;
            if answer.status() == 503 {
                return false;
            }
            assert_eq!(answer.status(), 302, "{}", answer.text());
            location = answer.head.only("location").map(str::to_owned);
            true
        })
        .await;
        location.expect("a location")
    }

    /// Sends a GET as the browser does for a page.
    pub(super) async fn navigate(&mut self, gateway: &Gateway, target: &str) -> Response {
        self.send(gateway, target, &[HTML]).await
    }

    /// Sends a GET as a page's script does.
    pub(super) async fn fetch(&mut self, gateway: &Gateway, target: &str) -> Response {
        self.send(gateway, target, &["Sec-Fetch-Mode: cors", "Accept: */*"]).await
    }

    /// Sends a GET with the cookies, and keeps those that the response sets.
    pub(super) async fn send(
        &mut self,
        gateway: &Gateway,
        target: &str,
        fields: &[&str],
    ) -> Response {
        let cookie = self.header();
        let mut fields = fields.to_vec();
        if !self.cookies.is_empty() {
            fields.push(&cookie);
        }
        let answer = gateway.get(target, &fields).await;
        self.keep(&answer);
        answer
    }

    /// A WebSocket handshake with the cookies, from a page of this origin.
    pub(super) fn handshake(&self, target: &str, origin: &str) -> Handshake {
        let handshake = Handshake::to(target).set("Origin", origin);
        handshake.set("Cookie", self.header().strip_prefix("Cookie: ").expect("cookies"))
    }

    /// The header with the cookies.
    pub(super) fn header(&self) -> String {
        let pairs: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("Cookie: {}", pairs.join("; "))
    }

    /// Keeps the cookies that a response sets.
    pub(super) fn keep(&mut self, answer: &Response) {
        for cookie in answer.head.all("set-cookie") {
            let (pair, attributes) = cookie.split_once(';').expect("attributes");
            let (name, value) = pair.split_once('=').expect("a pair");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// The names of the cookies of logins that have begun.
    pub(super) fn pending(&self) -> Vec<String> {
        self.cookies.keys().filter(|name| name.starts_with("tg-")).cloned().collect()
    }
}
