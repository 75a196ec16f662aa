//! Tests of the registry and of the limits on sessions. They open no socket.

use super::*;
use crate::websocket::session::Identity;
use crate::websocket::settings::{LogFrames, OnChange};

fn session(id: &str, user: &str, client: &str) -> Arc<Session> {
    let identity = Identity {
        id: id.into(),
        route: "ws".into(),
        fingerprint: 1,
        on_change: OnChange::Keep,
        user: UserId::new(user, UserIdOrigin::Query),
        client: client.parse().ok(),
        path: "/ws".into(),
        upstream: "notifications".into(),
    };
    Arc::new(Session::new(identity, LogFrames::Off))
}

impl SessionRegistry {
    /// A handshake that the upstream accepts at once.
    fn admit(
        &self,
        session: Arc<Session>,
        quota: &SessionQuota,
    ) -> Result<SessionPermit, QuotaExceeded> {
        let mut permit = self.register(session, quota)?;
        self.accept(&mut permit, quota)?;
        Ok(permit)
    }
}

fn evicting(quota: SessionQuota) -> SessionQuota {
    SessionQuota { evicts_oldest: true, ..quota }
}

#[test]
fn session_limits_are_exact_under_concurrency_and_counters_reset() {
    let registry = SessionRegistry::default();
    let quota = SessionQuota { sessions: Some(50), per_user: Some(7), ..SessionQuota::default() };
    let permits: Vec<SessionPermit> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let registry = &registry;
                scope.spawn(move || {
                    (0..40)
                        .filter_map(|index| {
                            let user = format!("user-{}", index % 10);
                            let id = format!("{thread}-{index}");
                            registry.admit(session(&id, &user, "192.0.2.1"), &quota).ok()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("joined")).collect()
    });
    assert_eq!(permits.len(), 50);
    for user in 0..10 {
        let selector =
            SessionSelector { user: Some(format!("user-{user}")), ..SessionSelector::default() };
        assert!(registry.select(&selector).len() <= 7);
    }
    drop(permits);
    assert_eq!(registry.count(), 0);
    let routes = lock(&registry.routes);
    let live = lock(&routes.get("ws").expect("the route").live);
    assert!(live.has_empty_indexes() && live.displaced.is_empty());
}

#[test]
fn addresses_of_one_ipv6_network_are_one_client() {
    let registry = SessionRegistry::default();
    let quota = SessionQuota { per_address: Some(1), ..SessionQuota::default() };
    let admit = |client| registry.admit(session("id", "", client), &quota);
    let first = admit("2001:db8::1").expect("room");
    assert_eq!(admit("2001:db8::2").map(drop), Err(QuotaExceeded::Address(1)));
    admit("2001:db8:0:1::1").expect("another network");
    drop(first);
    admit("2001:db8::2").expect("room again");
}

#[test]
fn oldest_session_is_closed_where_the_route_evicts() {
    let registry = SessionRegistry::default();
    let quota = evicting(SessionQuota { per_user: Some(2), ..SessionQuota::default() });
    let sessions = ["a", "b", "c"].map(|id| session(id, "user-1", "192.0.2.1"));
    let _tickets = sessions.clone().map(|session| registry.admit(session, &quota));
    let requested = sessions.map(|session| session.close_request().map(|request| request.code));
    assert_eq!(requested, [Some(Some(1008)), None, None]);
    assert_eq!(registry.count(), 3, "it is still there until it has closed");
}

#[test]
fn refused_session_evicts_nobody() {
    let registry = SessionRegistry::default();
    let none = SessionQuota::default();
    let old = session("old", "user-1", "192.0.2.1");
    let _old = registry.admit(Arc::clone(&old), &none).expect("room");
    let quota = evicting(SessionQuota {
        per_user: Some(1),
        per_address: Some(0),
        ..SessionQuota::default()
    });
    let refused = registry.admit(session("new", "user-1", "192.0.2.1"), &quota);
    assert_eq!(refused.map(drop), Err(QuotaExceeded::Address(0)));
    assert_eq!(old.close_request(), None);
    let quota = SessionQuota { per_user: Some(1), ..SessionQuota::default() };
    let refused = registry.admit(session("new", "user-1", "192.0.2.1"), &quota);
    assert_eq!(refused.map(drop), Err(QuotaExceeded::User(1)), "the old one is counted again");
}

#[test]
fn handshake_evicts_only_after_the_upstream_accepts() {
    let registry = SessionRegistry::default();
    let quota = evicting(SessionQuota { per_user: Some(1), ..SessionQuota::default() });
    let old = session("old", "user-1", "192.0.2.1");
    let _old = registry.admit(Arc::clone(&old), &quota).expect("room");
    let refused = registry.register(session("stranger", "user-1", "192.0.2.9"), &quota);
    drop(refused.expect("in flight"));
    assert_eq!(old.close_request(), None, "its upstream has not accepted it");
    let quota = SessionQuota { per_user: Some(2), ..SessionQuota::default() };
    let _strangers = ["a", "b", "c"]
        .map(|id| registry.register(session(id, "user-1", "192.0.2.9"), &quota).expect("begun"));
    registry.admit(session("new", "user-1", "192.0.2.1"), &quota).expect("room");
}

#[test]
fn excess_handshakes_displace_the_oldest_of_the_same_address() {
    let registry = SessionRegistry::default();
    let quota = SessionQuota { per_user: Some(2), ..SessionQuota::default() };
    let own = session("own", "user-1", "192.0.2.1");
    let _own = registry.register(Arc::clone(&own), &quota).expect("begun");
    let strangers = ["a", "b", "c", "d", "e"].map(|id| session(id, "user-1", "192.0.2.9"));
    let permits =
        strangers.clone().map(|it| registry.register(it, &quota).expect("one always begins"));
    let displaced = strangers.map(|session| session.close_request().is_some());
    assert_eq!(displaced, [true, false, false, false, false]);
    assert_eq!(own.close_request(), None);
    drop(permits);
    drop(_own);
    let routes = lock(&registry.routes);
    let live = lock(&routes.get("ws").expect("the route").live);
    assert!(live.pending.is_empty() && live.has_empty_indexes());
}

#[test]
fn sessions_are_found_by_user_route_and_id() {
    let registry = SessionRegistry::default();
    let quota = SessionQuota::default();
    let _tickets = [("a", "user-1"), ("b", "user-1"), ("c", "user-2")]
        .map(|(id, user)| registry.admit(session(id, user, "192.0.2.1"), &quota));
    let count = |user: Option<&str>, id: Option<&str>, route: Option<&str>| {
        let [user, id, route] = [user, id, route].map(|text| text.map(str::to_owned));
        registry.select(&SessionSelector { id, user, route }).len()
    };
    assert_eq!(count(None, None, None), 3);
    assert_eq!(count(Some("user-1"), None, None), 2);
    assert_eq!(count(Some("user-1"), Some("b"), Some("ws")), 1);
    assert_eq!(count(Some("user-2"), Some("b"), None), 0);
    let long = "k".repeat(299);
    let _long = registry.admit(session("d", &format!("{long}A"), "192.0.2.1"), &quota);
    assert_eq!(count(Some(&format!("{long}A")), None, None), 1);
    assert_eq!(count(Some(&format!("{long}B")), None, None), 0);
    assert_eq!(count(None, None, Some("other")), 0);
}
