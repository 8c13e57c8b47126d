//! What `fjall` does in one go and everybody waits for, done elsewhere, or little by little.

use std::fs::{self, DirEntry, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::journal;

/// How often a file that grows is flushed, and one that is to go is cut.
const EVERY: Duration = Duration::from_millis(10);
/// After so long without a change, it is not looked any more.
const STILL: u32 = 100;
/// What is cut off at once.
const CUT: u64 = 8 * 1024 * 1024;

/// What `fjall` is about to be done with.
///
/// It would free some hundred thousand rows, and delete files that were merged, while it keeps everybody from reading and writing:
/// 20 ms for a table, 90 ms for twelve files. So each is held until `fjall` has let go of it, and freed by a thread.
#[derive(Default)]
pub(super) struct Outgoing {
    held: Vec<Held>,
    freeing: Option<JoinHandle<()>>,
}

/// A table in memory, and the files that there were beside it.
struct Held {
    table: Arc<dyn Send + Sync>,
    _files: Box<dyn Send>,
}

impl Outgoing {
    pub(super) fn hold(&mut self, table: Arc<dyn Send + Sync>, files: Box<dyn Send>) {
        self.held.push(Held { table, _files: files });
        let free: Vec<_> = self.held.extract_if(.., |held| Arc::strong_count(&held.table) == 1).collect();
        if !free.is_empty() {
            self.wait();
            // Without a thread it is done here.
            self.freeing =
                thread::Builder::new().name("dynamo-free".to_owned()).spawn(move || drop(free)).ok();
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    fn wait(&mut self) {
        if let Some(freeing) = self.freeing.take() {
            // Should it have panicked, there is nothing left to free.
            let _ = freeing.join();
        }
    }
}

/// Nothing is deleted any more when the folder is opened again.
impl Drop for Outgoing {
    fn drop(&mut self) {
        self.wait();
    }
}

/// A thread that sees to the folder's large files while there is something to do, and ends when this is dropped.
///
/// `fjall` flushes a sorted file when it is complete, and deletes a journal of 64 MB in one piece; the flush of a write waits for
/// both, 15 to 40 ms. So what it has written of a file is flushed every few milliseconds (as `RocksDB` does with its option
/// `bytes_per_sync`), and a journal that it has deleted is held, and cut short step by step.
pub(super) struct Smoothing(SyncSender<()>);

impl Smoothing {
    /// `tables`: where `fjall` puts its sorted files.
    pub(super) fn start(folder: &Path, tables: PathBuf) -> io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let files = Files { folder: folder.to_owned(), tables, journals: Vec::new(), newest: None };
        thread::Builder::new().name("dynamo-smooth".to_owned()).spawn(move || files.see_to(&woken))?;
        Ok(Self(wake))
    }

    /// There will be a new file.
    pub(super) fn wake(&self) {
        // It is awake already.
        let _ = self.0.try_send(());
    }
}

struct Files {
    folder: PathBuf,
    tables: PathBuf,
    /// Those that were seen and are not gone yet.
    journals: Vec<(PathBuf, File)>,
    /// The newest sorted file, and how long it was.
    newest: Option<(u64, u64)>,
}

impl Files {
    fn see_to(mut self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            // What cannot be done here, `fjall` does later, and says what is wrong.
            let _ = self.hold_journals();
            let mut still = 0;
            while still < STILL {
                match woken.recv_timeout(EVERY) {
                    Ok(()) => {
                        let _ = self.hold_journals();
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                let changed = self.flush_newest().unwrap_or(false) | self.cut_journals();
                still = if changed { 0 } else { still + 1 };
            }
        }
    }

    fn hold_journals(&mut self) -> io::Result<()> {
        for path in journal::all(&self.folder)? {
            if !self.journals.iter().any(|(held, _)| *held == path) {
                let file = File::options().write(true).open(&path)?;
                self.journals.push((path, file));
            }
        }
        Ok(())
    }

    /// Cuts those that were deleted. Whether there was one.
    fn cut_journals(&mut self) -> bool {
        let mut any = false;
        self.journals.retain(|(_, file)| match file.metadata() {
            Ok(metadata) if metadata.nlink() > 0 => true,
            Ok(metadata) if metadata.len() > 0 => {
                any = true;
                file.set_len(metadata.len().saturating_sub(CUT)).is_ok()
            }
            Ok(_) | Err(_) => false,
        });
        any
    }

    /// Flushes what was written of the newest file since the last time. Whether something was.
    fn flush_newest(&mut self) -> io::Result<bool> {
        let number = |entry: io::Result<DirEntry>| entry.ok()?.file_name().to_str()?.parse::<u64>().ok();
        let Some(number) = fs::read_dir(&self.tables)?.filter_map(number).max() else { return Ok(false) };
        let file = File::open(self.tables.join(number.to_string()))?;
        let newest = Some((number, file.metadata()?.len()));
        if newest == self.newest {
            return Ok(false);
        }
        // Should it fail, `fjall` is told so too when it flushes: a failed flush is told to each that has the file open.
        file.sync_data()?;
        self.newest = newest;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually::eventually;

    fn files(folder: &Path) -> Files {
        let tables = folder.join("tables");
        fs::create_dir(&tables).unwrap();
        Files { folder: folder.to_owned(), tables, journals: Vec::new(), newest: None }
    }

    #[test]
    fn a_journal_is_cut_step_by_step_and_only_when_it_was_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(folder.path());
        let (old, new) = (folder.path().join("3.jnl"), folder.path().join("4.jnl"));
        for path in [&old, &new] {
            File::create(path).unwrap().set_len(CUT * 2 + 1).unwrap();
        }
        files.hold_journals().unwrap();
        files.hold_journals().unwrap();
        assert_eq!((files.journals.len(), files.cut_journals()), (2, false));
        fs::remove_file(&old).unwrap();
        let left = |files: &Files| files.journals[0].1.metadata().unwrap().len();
        for expected in [CUT + 1, 1, 0] {
            assert!(files.cut_journals());
            assert_eq!(left(&files), expected);
        }
        assert!(!files.cut_journals());
        assert_eq!(files.journals.iter().map(|(path, _)| path).collect::<Vec<_>>(), [&new]);
        assert_eq!(fs::metadata(&new).unwrap().len(), CUT * 2 + 1);
    }

    #[tokio::test]
    async fn a_journal_that_is_deleted_is_gone_a_while_after_somebody_is_woken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("3.jnl");
        let journal = File::create(&path).unwrap();
        journal.set_len(CUT * 2).unwrap();
        let smoothing = Smoothing::start(folder.path(), folder.path().join("tables")).unwrap();
        let open =
            || fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        let deadline = Duration::from_secs(60);
        smoothing.wake();
        let is_held = async || open().filter(|file| *file == path).count() == 2;
        eventually(deadline, "the thread holds the journal", is_held).await;
        fs::remove_file(&path).unwrap();
        smoothing.wake();
        let is_cut = async || journal.metadata().unwrap().len() == 0;
        eventually(deadline, "the journal is cut to nothing", is_cut).await;
    }

    #[test]
    fn the_newest_file_is_flushed_whenever_it_has_grown() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(folder.path());
        assert!(!files.flush_newest().unwrap());
        for (name, expected) in [("9", true), ("10", true), ("8", false)] {
            fs::write(files.tables.join(name), "rows").unwrap();
            assert_eq!(files.flush_newest().unwrap(), expected, "{name}");
            assert!(!files.flush_newest().unwrap(), "{name}");
        }
        fs::write(files.tables.join("10"), "more rows").unwrap();
        assert!(files.flush_newest().unwrap());
    }
}
