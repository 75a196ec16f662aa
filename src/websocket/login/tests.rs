//! Tests of the login of a session, with the time given. They open no socket.

use super::*;
use crate::identity::SchemeKind;
use crate::websocket::settings::{FrameLimits, LogFrames, OnChange, OnExpiry, SessionQuota};
use crate::websocket::{Identity, Origins, Session, SessionRegistry, UpstreamLost};
use serde_json::Map;

fn settings(warning: Option<Warning>) -> Arc<WebSocketSettings> {
    Arc::new(WebSocketSettings {
        origins: Origins::Same,
        idle_timeout: None,
        max_lifetime: None,
        quota: SessionQuota::default(),
        frame_limits: FrameLimits::default(),
        ping: None,
        on_change: OnChange::Keep,
        log_frames: LogFrames::Off,
        upstream_lost: UpstreamLost::BareEnd,
        on_expiry: OnExpiry { code: 3000, grace: Duration::from_secs(10) },
        renewal: Some(Renewal { path: "/renew".to_owned(), warning }),
    })
}

fn identity(expires_at: Option<SystemTime>) -> Arc<VerifiedIdentity> {
    let scheme = "accounts".into();
    Arc::new(VerifiedIdentity::new(scheme, SchemeKind::Jwt, Map::new(), expires_at))
}

const SECOND: Duration = Duration::from_secs(1);

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

#[test]
fn session_ends_at_the_expiry_and_grace_by_the_wall_clock_of_each_look() {
    let login = SessionLogin::new(identity(Some(noon())), settings(None));
    assert_eq!(login.time_left(noon() - 60 * SECOND), Some(70 * SECOND));
    // A step ahead, and back: what counts is the time of the last look.
    assert_eq!(login.time_left(noon() + 3600 * SECOND), Some(Duration::ZERO));
    assert_eq!(login.overdue(noon() + 3600 * SECOND), Some(3590 * SECOND));
    assert_eq!(login.time_left(noon() - 3600 * SECOND), Some(3610 * SECOND));
    assert_eq!(login.overdue(noon() - 3600 * SECOND), None);
    login.renew(identity(Some(noon() + 300 * SECOND)));
    assert_eq!(login.time_left(noon()), Some(310 * SECOND));
    login.renew(identity(None));
    assert_eq!((login.time_left(noon()), login.overdue(noon())), (None, None));
}

#[test]
fn client_is_warned_once_of_each_expiry() {
    let message = "{session} {seconds} {session}".to_owned();
    let warning = Warning { before: 60 * SECOND, message };
    let login = SessionLogin::new(identity(Some(noon())), settings(Some(warning)));
    let (_, id) = login.renewal().expect("an id");
    let id = id.to_text();
    assert_eq!(login.take_warning(noon() - 90 * SECOND), Some(Err(30 * SECOND)));
    let text = format!("{id} 45 {id}");
    assert_eq!(login.take_warning(noon() - 45 * SECOND), Some(Ok(text)));
    assert_eq!(login.take_warning(noon() - 40 * SECOND), None, "warned already");
    login.renew(identity(Some(noon() + 300 * SECOND)));
    assert_eq!(login.take_warning(noon()), Some(Err(240 * SECOND)));
    assert!(matches!(login.take_warning(noon() + 400 * SECOND), Some(Ok(_))));
}

#[test]
fn id_of_a_renewal_is_random_and_never_shown() {
    let [one, other] = [(); 2].map(|()| SessionLogin::new(identity(Some(noon())), settings(None)));
    let id = one.renewal_id().expect("an id");
    assert_eq!(RenewalId::parse(id.to_text().as_bytes()), Some(id));
    assert!(one.is_renewed_by(id) && !other.is_renewed_by(id));
    assert_ne!(Some(id.key()), other.renewal_id().map(RenewalId::key));
    for shown in [format!("{one:?}"), format!("{id:?}")] {
        assert!(!shown.contains(&id.to_text()), "{shown}");
    }
    for wrong in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAA", "!AAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(RenewalId::parse(wrong.as_bytes()), None, "{wrong}");
    }
    // What does not expire needs no renewal.
    assert!(SessionLogin::new(identity(None), settings(None)).renewal_id().is_none());
}

fn session(expires_at: SystemTime) -> Session {
    let identity_of_session = Identity {
        id: "id".into(),
        route: "ws".into(),
        fingerprint: 1,
        on_change: OnChange::Keep,
        user: None,
        client: None,
        path: "/ws".into(),
        upstream: "chat".into(),
    };
    let login = SessionLogin::new(identity(Some(expires_at)), settings(None));
    Session::new(identity_of_session, LogFrames::Off).with_login(login)
}

/// The promise of `docs/authentication.md`: no session ends too early, and none stays open for long.
#[test]
fn steps_of_the_wall_clock_end_no_session_early_and_keep_none() {
    let session = session(noon());
    let within = |clock: SystemTime| {
        let next = session.next_check(|| clock).expect("it goes on");
        next.saturating_duration_since(session.started + session.started.elapsed())
    };
    let look = WALL_CLOCK_INTERVAL + SECOND;
    assert!(within(noon() - 3600 * SECOND) < look, "it looks again soon");
    assert!(within(noon() - 7200 * SECOND) < look, "set back");
    assert!(within(noon() + 5 * SECOND) < 6 * SECOND, "the grace");
    assert!(within(noon() + 10 * SECOND) < SECOND, "the tunnel closes first");
    assert!(session.close_request().is_none(), "not one of these is beyond the grace");
    within(noon() + 3600 * SECOND);
    let end = session.close_request().expect("set forward, and expired");
    assert_eq!((end.initiator, end.code), (Initiator::Expiry, Some(3000)));
}

#[test]
fn registry_finds_an_open_session_by_the_id_of_its_renewal_alone() {
    let registry = SessionRegistry::default();
    let quota = SessionQuota::default();
    let session = Arc::new(session(noon()));
    let id = session.login().and_then(SessionLogin::renewal_id).expect("an id");
    let mut permit = registry.register(Arc::clone(&session), &quota).expect("registered");
    assert!(registry.find_renewable("ws", id).is_none(), "not open yet");
    registry.accept(&mut permit, &quota).expect("accepted");
    let found = registry.find_renewable("ws", id).expect("found");
    assert!(Arc::ptr_eq(&found, &session));
    assert!(registry.find_renewable("other", id).is_none(), "of another route");
    let other = RenewalId::generate().expect("an id");
    assert!(registry.find_renewable("ws", other).is_none());
    drop(permit);
    assert!(registry.find_renewable("ws", id).is_none(), "ended");
}

/// The promise of `docs/sessions.md`: a pointer without a login, at most 256 bytes more with renewal.
#[test]
fn login_of_a_session_is_small() {
    assert_eq!(size_of::<Option<Box<SessionLogin>>>(), size_of::<usize>());
    let entry = size_of::<(RenewalKey, u64)>() + 1;
    // A map is less than half full right after it has grown.
    let all = size_of::<usize>() + size_of::<SessionLogin>() + 16 + entry * 16 / 7;
    assert!(all <= 160, "{all} bytes; a session itself has {}", size_of::<Session>());
}
