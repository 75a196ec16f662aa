//! Tests of the normal form of paths and of what is forwarded. They know no route.

use super::*;
use proptest::prelude::*;

fn normal(path: &str) -> String {
    normalize(path).expect(path).into_owned()
}

#[test]
fn normal_path_is_borrowed() {
    for path in ["/", "/api/notifications/ws", "/a.b/c..d/.../e-f_~", "/a/b/"] {
        assert_eq!(normal(path), path);
    }
    for path in ["/", "/api/notifications/ws", "/a.b/c..d", "/a/b/", "/a;b=1/c"] {
        assert!(matches!(normalize(path), Ok(Cow::Borrowed(_))), "{path}");
    }
}

#[test]
fn rfc3986_5_2_4_dot_segments_are_resolved() {
    assert_eq!(normal("/a/b/c/./../../g"), "/a/g");
    assert_eq!(normal("/a/.."), "/");
    assert_eq!(normal("/a/."), "/a/");
    assert_eq!(normal("/../../a"), "/a");
    assert_eq!(normal("/public/%2e%2E/admin"), "/admin");
    assert_eq!(normal("/public/.%2e/admin"), "/admin");
}

#[test]
fn duplicate_slashes_are_merged() {
    assert_eq!(normal("//api///x//"), "/api/x/");
}

#[test]
fn rfc3986_6_2_2_unreserved_escapes_are_decoded_and_others_uppercased() {
    assert_eq!(normal("/%61pi/%7euser/%c3%a9"), "/api/~user/%C3%A9");
    assert_eq!(normal("/a%20b%25"), "/a%20b%25");
}

#[test]
fn every_escaping_of_a_path_has_one_normal_form() {
    for (path, expected) in [
        ("/%40a%24%2b%3a%2C", "/@a$+:,"),
        ("/caf\u{e9}", "/caf%C3%A9"),
        ("/a\"<>`{|}^[]", "/a%22%3C%3E%60%7B%7C%7D%5E%5B%5D"),
        ("/a%3Fb%23%25", "/a%3Fb%23%25"),
        ("/a%3Bb", "/a;b"),
    ] {
        assert_eq!(normal(path), expected, "{path}");
    }
    let spelling = ParsedPath::parse("/%40a//caf\u{e9}%2b").expect("a path");
    let spelt = ForwardedForm::Spelt("/%40a/caf%C3%A9%2B".to_owned());
    assert_eq!(spelling.forwarded(PathPolicy::NORMAL), Ok(spelt));
}

#[test]
fn path_that_may_leave_its_prefix_is_detected() {
    for path in ["/t", "/t/", "/t/a/../b", "/t//a", "/t/a%2Fb", "/t/;x", "/%74/@"] {
        assert!(stays_below(path, "/t"), "{path}");
    }
    for path in ["/t/../u", "/t/..%2Fu", "/t/..;/u", "/t/..%3B/u", "/t/%2e%2e/u", "/t//../../u"] {
        assert!(!stays_below(path, "/t"), "{path}");
    }
}

#[test]
fn rfc3986_3_3_path_parameters_are_kept() {
    for path in ["/app/;jsessionid=1", "/;a=b", "/a;b/c;d", "/a;/b"] {
        assert_eq!(normal(path), path);
    }
}

#[test]
fn ambiguous_path_is_refused() {
    let refused = |path, error| assert_eq!(normalize(path), Err(error), "{path:?}");
    for path in ["/a%2fb", "/a%5Cb", "/a\\b"] {
        refused(path, PathError::Ambiguous);
    }
    for path in ["/a%00", "/a%0d%0a", "/a\u{1}b"] {
        refused(path, PathError::Control);
    }
    for path in ["/a/..;/b", "/a/.;x=1/b", "/a/%2e%2e;/b", "/a/..;", "/a/..%3b/b"] {
        refused(path, PathError::HiddenDotSegment);
    }
    for path in ["/;/b", "/a/;x=1/b", "/%3B//b"] {
        refused(path, PathError::HiddenEmptySegment);
    }
    for path in ["/%", "/%2", "/%zz"] {
        refused(path, PathError::BadEscape);
    }
    for path in ["", "*", "a/b"] {
        refused(path, PathError::NotAbsolute);
    }
}

#[test]
fn each_path_policy_forwards_its_own_form() {
    const REJECT: EncodedSlash = EncodedSlash::Reject;
    const KEEP: EncodedSlash = EncodedSlash::Keep;
    const DECODE: EncodedSlash = EncodedSlash::Decode;
    let policy = |encoded_slash, keeps_duplicate_slashes, keeps_dot_segments| PathPolicy {
        encoded_slash,
        keeps_duplicate_slashes,
        keeps_dot_segments,
    };
    let form = |path: &str, policy| {
        let spelling = ParsedPath::parse(path).expect(path);
        match spelling.forwarded(policy).expect(path) {
            ForwardedForm::Normal => spelling.normal.clone().into_owned(),
            ForwardedForm::AsItCame => path.to_owned(),
            ForwardedForm::Spelt(form) | ForwardedForm::Other(form) => form,
        }
    };
    let path = "/%61//b%2fc/../d%2e";
    assert_eq!(form(path, policy(KEEP, false, false)), "/a/d.");
    assert_eq!(form(path, policy(DECODE, false, false)), "/a/b/d.");
    assert_eq!(form(path, policy(KEEP, true, false)), "/a//d.");
    assert_eq!(form(path, policy(KEEP, false, true)), "/a/b%2Fc/../d.");
    assert_eq!(form(path, policy(DECODE, true, true)), "/a//b/c/../d.");
    assert_eq!(form(path, PathPolicy::RAW), path);
    assert_eq!(form("//a/./b", policy(REJECT, true, false)), "//a/b");
    assert_eq!(form("//a/./b", policy(REJECT, false, true)), "/a/./b");
    assert_eq!(ParsedPath::parse(path).expect(path).normal, "/a/b/d.");
}

#[test]
fn prefix_length_is_found_under_every_spelling() {
    for (path, prefix, length) in [
        ("/api//x", "/api", Some(4)),
        ("/api", "/api", Some(4)),
        ("/%61pi/x", "/api", Some(6)),
        ("/a%2db%c3%a9/x", "/a-b%C3%A9", Some(12)),
        ("/%40a/x", "/@a", Some(5)),
        ("/\u{e9}/x", "/%C3%A9", Some(3)),
        ("/x", "", Some(0)),
        ("/apis", "/api", None),
        ("/ap", "/api", None),
        ("//api", "/api", None),
    ] {
        assert_eq!(length_of_prefix(path, prefix), length, "{path}");
    }
}

proptest! {
    #[test]
    fn normalising_is_idempotent(path in "/([a-c./%24e0E;@\u{e9}~\\\\ -]|%3B|%2[Ee]){0,24}") {
        if let Ok(once) = normalize(&path) {
            prop_assert_eq!(normalize(&once), Ok(Cow::Borrowed(&*once)));
        }
        if let Ok(spelling) = ParsedPath::parse(&path) {
            let normal = &*spelling.normal;
            prop_assert!(normal.starts_with('/'));
            prop_assert!(!normal.contains("//"));
            prop_assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
        }
    }
}
