//! Logout: here, at the issuer, and only by pages of the same origin.

use super::browser::{Browser, LOGOUT};
use super::issuer::{CLIENT, Issuer};
use serde_json::json;
use tidegate_testing::Upstream;

const SAME_ORIGIN: &str = "Sec-Fetch-Site: same-origin";

#[tokio::test]
async fn logout_ends_the_login_here_and_at_the_issuer() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    let copy = browser.clone();
    let answer = browser
        .send(&gateway, &format!("{LOGOUT}?next=https://evil.example"), &[SAME_ORIGIN])
        .await;
    assert_eq!(answer.status(), 303);
    let location = answer.head.only("location").expect("a location");
    let query =
        location.strip_prefix(&format!("{}/end?", issuer.provider.issuer())).expect("the issuer");
    let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let expected = [("client_id", CLIENT), ("post_logout_redirect_uri", "http://localhost/")];
    assert_eq!(parameters, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    assert_eq!(copy.clone().fetch(&gateway, "/").await.status(), 401, "a copy of the cookie");
    let answer = browser.send(&gateway, LOGOUT, &[SAME_ORIGIN]).await;
    assert_eq!(
        (answer.status(), answer.head.only("location")),
        (303, Some("/")),
        "logged out already"
    );
}

#[tokio::test]
async fn other_sites_cannot_log_out() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    for fields in [
        &["Sec-Fetch-Site: cross-site"][..],
        &["Sec-Fetch-Site: same-site", "Origin: http://localhost"],
        &["Origin: https://evil.example"],
        &["Origin: null"],
        &[],
    ] {
        let answer = browser.send(&gateway, LOGOUT, fields).await;
        assert_eq!(
            (answer.status(), &answer.error()["error"]),
            (403, &json!("origin_not_allowed")),
            "{fields:?}"
        );
        assert!(answer.head.get("set-cookie").is_none(), "{fields:?}");
    }
    assert_eq!(browser.fetch(&gateway, "/").await.status(), 200);
    let request = format!(
        "POST {LOGOUT} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n{}\r\nContent-Length: 0\r\n\r\n",
        browser.header()
    );
    assert_eq!(gateway.send(request).await.status(), 303);
    let put = format!("PUT {LOGOUT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    let answer = gateway.send(put).await;
    assert_eq!((answer.status(), answer.head.only("allow")), (405, Some("GET, POST")));
}
