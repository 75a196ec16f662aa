//! Which keys take effect only after a restart. This is the only place that says so: the JSON Schema, the reference,
//! `tidegate status` and `tidegate diff` read it. It must not know what the keys are for.

use super::defaults::for_each_property;
use serde_json::Value;

/// Declares the keys: what the schema calls the type that has the key, the key, and the path by which it is reported.
macro_rules! restart_keys {
    ($($(#[$doc:meta])* $name:ident: $of:literal $key:literal, $path:literal;)*) => {
        /// A key whose edit takes effect only after a restart.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RestartKey {
            $($(#[$doc])* $name,)*
        }

        impl RestartKey {
            /// All of them, in the order in which they are reported.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its path. `[]` is an item of a list.
            pub fn path(self) -> &'static str {
                match self {
                    $(Self::$name => $path,)*
                }
            }

            /// The type that has the key, and the key.
            fn property(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$name => ($of, $key),)*
                }
            }
        }
    };
}

restart_keys! {
    /// The addresses of the listeners. Their order changes nothing.
    Listeners: "Listener" "address", "listeners";
    /// `threads`
    Threads: "Config" "threads", "threads";
    /// `upstream_pool_size`
    UpstreamPoolSize: "Config" "upstream_pool_size", "upstream_pool_size";
    /// `admin.address`
    AdminAddress: "Admin" "address", "admin.address";
    /// `upgrade_socket`
    UpgradeSocket: "Config" "upgrade_socket", "upgrade_socket";
    /// `state_dir`
    StateDir: "Config" "state_dir", "state_dir";
    /// The permissions of a listener that is a Unix domain socket.
    ListenerMode: "Listener" "mode", "listeners[].mode";
}

impl RestartKey {
    /// The key at this path: `threads`, `listeners[0].mode`, `listeners[unix:/run/a.sock].mode`.
    pub fn for_path(path: &str) -> Option<Self> {
        let is_it = |key: &&Self| match key.path().split_once("[]") {
            None => key.path() == path,
            Some((list, rest)) => path
                .strip_prefix(list)
                .and_then(|path| path.strip_suffix(rest))
                .is_some_and(|item| item.starts_with('[') && item.ends_with(']')),
        };
        Self::ALL.iter().find(is_it).copied()
    }
}

/// Marks the keys in the JSON Schema.
pub(super) fn declare(schema: &mut Value) {
    for_each_property(schema, |of, key, property, _| {
        if RestartKey::ALL.iter().any(|it| it.property() == (of, key)) {
            property.insert("x-restart".to_owned(), true.into());
        }
    });
}

/// Says so in the description of each, for editors that show no more than that.
pub(super) fn describe(schema: &mut Value) {
    for_each_property(schema, |_, _, property, _| {
        let is_marked = property.contains_key("x-restart");
        if let (true, Some(Value::String(text))) = (is_marked, property.get_mut("description")) {
            *text += " ";
            *text += RESTART_SENTENCE;
        }
    });
}

/// The sentence in the description of such a key.
pub(super) const RESTART_SENTENCE: &str = "Takes effect after a restart.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_marked_in_the_schema() {
        let schema = super::super::json_schema();
        for key in RestartKey::ALL {
            let (of, name) = key.property();
            let mapping = if of == "Config" { &schema } else { &schema["$defs"][of] };
            assert_eq!(mapping["properties"][name]["x-restart"], true, "{key:?}");
        }
    }

    #[test]
    fn restart_key_is_found_by_its_path() {
        for key in RestartKey::ALL {
            assert_eq!(RestartKey::for_path(&key.path().replace("[]", "[0]")), Some(*key));
        }
        let mode = Some(RestartKey::ListenerMode);
        assert_eq!(RestartKey::for_path("listeners[unix:/run/a].mode"), mode);
        assert_eq!(RestartKey::for_path("listeners[[::1]:80].mode"), mode);
        for other in ["listeners[0].tls", "listeners.mode", "admin.token", "admin", "thread", ""] {
            assert_eq!(RestartKey::for_path(other), None, "{other}");
        }
    }
}
