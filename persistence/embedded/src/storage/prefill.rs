//! Room in the journal, made before it is needed.
//!
//! `fjall` gives a new journal its 64 MB as a hole. Where a write goes into the hole the file system finds blocks for it, and its flush
//! puts onto the disk where they are too: a second write, which waits for the first. Where it goes over zeros, only its own bytes
//! are flushed. (PostgreSQL fills its journals for the same reason: `wal_init_zero`.) On the disk of one machine such a flush took
//! 0.09 ms for 0.15, and two thirds of the processor's time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{SeekFrom, seek};

use super::journal;

/// What is filled at once; the flush of the write that follows takes a fraction of a millisecond longer.
const PIECE: u64 = 256 * 1024;
static ZEROS: [u8; PIECE as usize] = [0; PIECE as usize];

/// Fills the newest journal's hole, from its start, whenever about as much was written.
pub(super) struct Prefill {
    folder: PathBuf,
    left: u64,
}

impl Prefill {
    pub(super) const fn of(folder: PathBuf) -> Self {
        Self { folder, left: 0 }
    }

    /// To be called before a write of about so many bytes, and by nobody else before that is done: what is filled is what is a
    /// hole now. Only zeros come where zeros were read, and no file becomes longer, so a crash leaves nothing that is new.
    pub(super) fn before_write_of(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            // Without it the write takes longer. What is wrong with the disk, that says.
            let _ = self.fill();
            self.left = PIECE;
        }
    }

    fn fill(&self) -> io::Result<()> {
        let Some(journal) = journal::all(&self.folder)?.pop() else { return Ok(()) };
        let file = File::options().write(true).open(journal)?;
        // A file without a hole has one at its end.
        let hole = seek(&file, SeekFrom::Hole(0))?;
        let room = file.metadata()?.len().saturating_sub(hole).min(PIECE);
        file.write_all_at(&ZEROS[..usize::try_from(room).unwrap_or_default()], hole)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{File as Rows, Slice, Storage};
    use super::*;

    #[test]
    fn the_hole_is_filled_from_its_start_whenever_so_much_was_written_and_the_file_stays_as_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.jnl");
        let journal = File::create(&path).unwrap();
        journal.set_len(3 * PIECE + PIECE / 2).unwrap();
        journal.write_all_at(&[1; 5000], 0).unwrap();
        let mut prefill = Prefill::of(folder.path().to_owned());
        let hole = || seek(&journal, SeekFrom::Hole(0)).unwrap();
        let first = hole();
        assert!((5000..PIECE).contains(&first), "{first}: are there no holes here?");
        prefill.before_write_of(5000);
        assert_eq!(hole(), first + PIECE);
        for (bytes, filled) in [(PIECE - 1, 1), (1, 2), (10 * PIECE, 3)] {
            prefill.before_write_of(bytes);
            assert_eq!(hole(), first + filled * PIECE, "after {bytes}");
        }
        for _ in 0..2 {
            prefill.before_write_of(PIECE);
            assert_eq!(hole(), 3 * PIECE + PIECE / 2);
        }
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, 3 * PIECE + PIECE / 2);
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == u8::from(at < 5000)));
    }

    #[test]
    fn a_journal_that_grows_as_it_is_written_is_left_alone_and_so_are_older_ones() {
        let folder = tempfile::tempdir().unwrap();
        let mut prefill = Prefill::of(folder.path().to_owned());
        prefill.before_write_of(1);
        let (old, new) = (folder.path().join("9.jnl"), folder.path().join("10.jnl"));
        let journal = File::create(&old).unwrap();
        journal.set_len(PIECE).unwrap();
        fs::write(&new, [1; 5000]).unwrap();
        prefill.before_write_of(PIECE);
        assert_eq!(seek(&journal, SeekFrom::Hole(0)).unwrap(), 0);
        assert_eq!(fs::read(&new).unwrap(), [1; 5000]);
    }

    #[test]
    fn a_write_finds_room_in_a_new_journal() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Rows::open(folder.path()).unwrap();
        let row = (Slice::from("key"), Some(Slice::from("value")));
        rows.write(&[row].into_iter().collect()).unwrap();
        let journal = File::open(journal::all(folder.path()).unwrap().pop().unwrap()).unwrap();
        assert_eq!(seek(&journal, SeekFrom::Hole(0)).unwrap(), PIECE);
    }
}
