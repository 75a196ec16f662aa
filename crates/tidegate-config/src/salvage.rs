//! Reads the address of the gateway that runs with a file, even if the file as a whole is invalid. Reads no other
//! section.

use super::{Admin, Config, Listener, Sources, Spanned};

impl Sources {
    /// The section `admin` of a main file that is not YAML, not UTF-8 or too large, where the section
    /// itself is sound.
    pub fn admin_of_unreadable_file(&self) -> Option<Admin> {
        self.read_one_section("admin:")?.admin
    }

    /// The first listener of such a file.
    pub fn first_listener_of_unreadable_file(&self) -> Option<Listener> {
        self.read_one_section("listeners:")?.listeners.into_iter().next()
    }

    /// The `upgrade_socket` of such a file.
    pub fn upgrade_socket_of_unreadable_file(&self) -> Option<Spanned<String>> {
        self.read_one_section("upgrade_socket:")?.upgrade_socket
    }

    fn read_one_section(&self, key: &str) -> Option<Config> {
        let (path, text) = self.main_text()?;
        Some(self.read_section(path, section(&text, key)?))
    }
}

/// The lines of a key at the top, without what stands before and after.
fn section(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(key));
    let mut section = lines.next()?.to_owned();
    let belongs = |line: &&str| {
        line.is_empty() || line.starts_with("- ") || line.starts_with([' ', '\t', '#', '}', ']'])
    };
    for line in lines.take_while(belongs) {
        section.push('\n');
        section.push_str(line);
    }
    Some(section)
}
