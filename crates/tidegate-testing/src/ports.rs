//! Ports for the servers of a test, which no other test gets. It does not know what listens on them.

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A free port below the kernel's ephemeral range, which no other test or test run on this machine gets.
pub fn free_port() -> u16 {
    static PORTS: Mutex<Option<Ports>> = Mutex::new(None);
    let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let ports = ports.get_or_insert_with(Ports::new);
    loop {
        let port = ports.next();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Blocks of ports; a block belongs to the process that has locked its file.
struct Ports {
    folder: PathBuf,
    held: Vec<File>,
    block: u16,
    left: Range<u16>,
}

impl Ports {
    const FIRST: u16 = 10_000;
    const IN_A_BLOCK: u16 = 40;
    const BLOCKS: u16 = 550;

    fn new() -> Self {
        let folder = std::env::temp_dir().join("tidegate-test-ports");
        let _ = std::fs::create_dir_all(&folder);
        let block = u16::try_from(std::process::id() % u32::from(Self::BLOCKS)).unwrap_or(0);
        Self { folder, held: Vec::new(), block, left: 0..0 }
    }

    fn next(&mut self) -> u16 {
        loop {
            if let Some(port) = self.left.next() {
                return port;
            }
            let first = Self::FIRST + self.block * Self::IN_A_BLOCK;
            self.left = if self.lock() { first..first + Self::IN_A_BLOCK } else { 0..0 };
            self.block = (self.block + 1) % Self::BLOCKS;
        }
    }

    /// Locks the next block. If locks are not supported, every block counts as locked.
    fn lock(&mut self) -> bool {
        let file = self.folder.join(self.block.to_string());
        let Ok(file) = File::options().create(true).append(true).open(file) else { return true };
        match file.try_lock() {
            Ok(()) => {
                self.held.push(file);
                true
            }
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => true,
        }
    }
}
