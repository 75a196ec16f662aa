//! The table of floors, read from docs/architecture.md, the only place that has it. Knows nothing of Rust.

/// A room: a folder or a file, and the floor it is on.
pub(crate) struct Room {
    /// `src/proxy`, `src/gateway.rs`, `crates/tidegate-http`.
    pub(crate) name: String,
    /// `None`: beside the floors.
    pub(crate) floor: Option<u32>,
    /// The rooms that it may use, where the row says "uses `this` alone".
    pub(crate) uses: Option<Vec<String>>,
}

pub(crate) struct Floors(Vec<Room>);

impl Floors {
    /// Reads the rows `| floor | rooms | text |`.
    pub(crate) fn read(page: &str) -> Self {
        let mut rooms = Vec::new();
        for line in page.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let &["", floor, names, text, ""] = &*cells else { continue };
            let floor = match floor {
                "beside" => None,
                number => match number.parse() {
                    Ok(number) => Some(number),
                    Err(_) => continue,
                },
            };
            let alone = text.split_once("uses `").and_then(|(_, rest)| rest.split_once("` alone"));
            let uses = alone.map(|(name, _)| vec![format!("crates/{name}")]);
            for name in names.split('`').skip(1).step_by(2) {
                let name = name.trim_end_matches('/');
                let name = if name.starts_with("crates/") {
                    name.to_owned()
                } else {
                    format!("src/{name}")
                };
                rooms.push(Room { name, floor, uses: uses.clone() });
            }
        }
        assert!(!rooms.is_empty(), "docs/architecture.md has no table of floors");
        Self(rooms)
    }

    /// The room that a file is in.
    pub(crate) fn room_of(&self, file: &str) -> Option<&Room> {
        self.0.iter().find(|room| {
            file.strip_prefix(&*room.name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    pub(crate) fn is_same_room(&self, one: &str, other: &str) -> bool {
        match (self.room_of(one), self.room_of(other)) {
            (Some(one), Some(other)) => one.name == other.name,
            _ => false,
        }
    }
}
