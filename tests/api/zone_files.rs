//! A folder of zone files as a machine has it, with one zone.

use std::fs;

use tempfile::TempDir;

/// A folder for `TZDIR`. Deleted when dropped.
pub struct ZoneFiles(TempDir);

impl ZoneFiles {
    /// A folder in which `zone` always follows `rule`, as POSIX writes it: `PST8PDT,M3.2.0,M11.1.0`.
    pub fn with(zone: &str, rule: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(zone, &tzif(rule));
        files
    }

    /// Writes another file.
    pub fn write(&self, name: &str, content: &[u8]) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn folder(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// A zone file in version 2 of the format (RFC 9636): no transition, and the rule for all times after the last one.
fn tzif(rule: &str) -> Vec<u8> {
    let mut block = b"TZif2".to_vec();
    block.extend([0; 15]);
    // How many: indicators of UT and of standard time, leap seconds, transitions, types of local time, bytes of names.
    for count in [0_u32, 0, 0, 0, 1, 4] {
        block.extend(count.to_be_bytes());
    }
    // The one type: no offset, no daylight saving, and the name at index 0.
    block.extend([0; 6]);
    block.extend(b"LMT\0");
    // The format has a block of 32-bit times first. Without a transition, that of 64-bit times is the same.
    [&block[..], &block[..], format!("\n{rule}\n").as_bytes()].concat()
}
