//! Rows in a folder, in the LSM tree of `fjall`: a journal that is flushed to the disk with each write, a table in memory
//! for what the journal holds, and sorted files that one thread writes and merges.
//!
//! **Durable.** `fjall` appends a write to its journal, flushes that, and only then shows the rows. So what is read is on the
//! disk. Its files are as long as they need to be; a journal is set to 64 MB at once, but only what is written takes space.
//!
//! **When the disk fails**, `fjall` refuses every further write, since it does not know what is on the disk. Then the folder is
//! closed; what the failed write has left in the journal is cut off, and the folder is opened again.

use std::fs::{self, DirBuilder};
use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use fjall::compaction::Leveled;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};

use super::prefill::Prefill;
use super::smooth::{Outgoing, Smoothing};
use super::{Failed, Found, Rows, Slice, Storage, View, journal};

/// What `fjall` writes last into a new folder.
const MARKER: &str = "version";
/// The only journal of a folder that is being made.
const FIRST_JOURNAL: &str = "0.jnl";
/// Where `fjall` keeps its sorted files.
const TREES: &str = "keyspaces";
/// Where, in a tree's folder.
const TABLES: &str = "tables";
/// The one tree: rows of all tables.
const ROWS: &str = "rows";
/// Blocks of files that are kept in memory.
const CACHE_BYTES: u64 = 12 * 1024 * 1024;
/// Rows in memory before they become a file. A fifth of this, and merged files of 8 MB, made the p99 at 12,000 bookings a second half
/// as long in the first half minute of a store (before `smooth` was there). But then they are merged the more often, each time with
/// all that was merged before: after a million bookings it was twice as long.
const MEMTABLE_BYTES: u64 = 40 * 1024 * 1024;
/// When it is made one: before `fjall` does so by itself.
pub(super) const NEARLY_FULL: u64 = MEMTABLE_BYTES / 4 * 3;
/// Tables in memory that wait to become files; whoever writes waits then too. `fjall` itself would wait at one more, and not
/// see when the thread that writes them has failed.
pub(super) const WAITING_MAX: usize = 3;
/// How often it is looked whether fewer wait: `fjall` tells nobody.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Files of the newest rows before they are merged: merging, and deleting what was merged, holds everybody up. At half load, beside
/// each other, the p99 of a booking was 41 and 46 ms at `fjall`'s own four, and 20 and 34 ms at this.
const NEWEST_FILES: u8 = 12;
/// Journals are given up when what they hold is in files; `fjall` starts another at 64 MB.
const JOURNALS_BYTES: u64 = 192 * 1024 * 1024;
/// Files that are kept open.
const OPEN_FILES: usize = 64;

/// Why a folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system refuses.
    #[error("the folder of the embedded DynamoDB cannot be used")]
    System(#[from] io::Error),
    /// What is in it is not what was written.
    #[error("the files of the embedded DynamoDB are damaged: {0}")]
    Damaged(String),
}

/// Rows in a folder.
pub(crate) struct File {
    folder: PathBuf,
    /// `None` after a failure, until it is recovered.
    open: RwLock<Option<Open>>,
    /// The number of the write that failed, which must not come back.
    failed: Mutex<Option<u64>>,
    /// Makes the next write fail when it is in the journal already.
    #[cfg(test)]
    pub(super) fail_next: std::sync::atomic::AtomicBool,
}

struct Open {
    // First, so that it goes first.
    outgoing: Mutex<Outgoing>,
    smoothing: Smoothing,
    /// Locked by whoever writes, until that is flushed.
    prefill: Mutex<Prefill>,
    database: Database,
    rows: Keyspace,
}

impl Open {
    /// Makes the table in memory a file when it is nearly full: here, where it can be waited for. `fjall`'s own thread, which does so
    /// when it is full, waits for itself when it is far behind (fjall-rs/fjall#323), and meanwhile nothing bounds the table.
    fn make_room(&self) -> fjall::Result<()> {
        let tree = &self.rows.tree;
        let table = tree.active_memtable();
        if table.size() < NEARLY_FULL {
            return Ok(());
        }
        while tree.sealed_memtable_count() >= WAITING_MAX {
            // Says when the thread has failed.
            self.database.persist(PersistMode::Buffer)?;
            thread::sleep(LOOK_EVERY);
        }
        let files = tree.current_version();
        self.rows.rotate_memtable()?;
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        outgoing.hold(table, Box::new(files));
        self.smoothing.wake();
        Ok(())
    }
}

impl File {
    /// Whether there is something of ours.
    pub(crate) fn is_in(folder: &Path) -> bool {
        folder.join(MARKER).is_file()
    }

    /// Opens the folder, or makes it, readable by its owner alone.
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        make(folder)?;
        forget_unfinished(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            open: RwLock::new(Some(open(folder)?)),
            failed: Mutex::new(None),
            #[cfg(test)]
            fail_next: false.into(),
        })
    }

    /// Bytes of rows that are in no file yet, and in no table that waits to become one.
    #[cfg(test)]
    pub(super) fn in_memory(&self) -> u64 {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map_or(0, |open| open.rows.tree.active_memtable().size())
    }

    /// Tables in memory that are not freed yet, though they have become files or are about to.
    #[cfg(test)]
    pub(super) fn outgoing(&self) -> usize {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map_or(0, |open| open.outgoing.lock().unwrap_or_else(PoisonError::into_inner).held())
    }

    fn append(&self, rows: &Rows) -> Result<(), Broken> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &*open else { return Err(Broken::Untouched) };
        let Open { database, rows: tree, .. } = open;
        let number = database.seqno();
        // Where `fjall` panics it has broken its own rules, and is as good as failed.
        let written = catch_unwind(AssertUnwindSafe(|| {
            let mut prefill = open.prefill.lock().unwrap_or_else(PoisonError::into_inner);
            open.make_room()?;
            let bytes: usize = rows
                .iter()
                .map(|(key, value)| key.len() + value.as_ref().map_or(0, |value| value.len()))
                .sum();
            prefill.before_write_of(bytes as u64);
            let mut batch = database.batch().durability(Some(PersistMode::SyncData));
            // In order, so that neighbours are looked for in the same places.
            let mut rows: Vec<_> = rows.iter().collect();
            rows.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in rows {
                match value {
                    Some(value) => batch.insert(tree, key.clone(), value.clone()),
                    None => batch.remove(tree, key.clone()),
                }
            }
            batch.commit()
        }));
        match written {
            Ok(Ok(())) => {
                #[cfg(test)]
                if self.fail_next.swap(false, std::sync::atomic::Ordering::Relaxed) {
                    return Err(Broken::At(number));
                }
                Ok(())
            }
            Ok(Err(fjall::Error::Poisoned)) => Err(Broken::Untouched),
            Ok(Err(error)) => {
                tracing::error!(problem = %told(&error), "the embedded DynamoDB cannot write");
                Err(Broken::At(number))
            }
            Err(_) => Err(Broken::At(number)),
        }
    }
}

/// How a write failed.
enum Broken {
    /// The storage had failed before; nothing of the write is anywhere.
    Untouched,
    /// Something of it may be in the journal.
    At(u64),
}

impl Storage for File {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>, Failed> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or(Failed)?;
        open.rows.get(key).map_err(|error| unreadable(&error))
    }

    fn view(&self, look: &mut dyn FnMut(&dyn View) -> Result<(), Failed>) -> Result<(), Failed> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let Open { database, rows, .. } = open.as_ref().ok_or(Failed)?;
        look(&Moment { snapshot: database.snapshot(), rows })
    }

    fn write(&self, rows: &Rows) -> Result<(), Failed> {
        let mut outcome = self.append(rows);
        if matches!(outcome, Err(Broken::Untouched)) && self.recover().is_ok() {
            outcome = self.append(rows);
        }
        let Err(broken) = outcome else { return Ok(()) };
        if let Broken::At(number) = broken {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(number);
        }
        self.close();
        Err(Failed)
    }

    fn recover(&self) -> Result<(), Failed> {
        // `fjall` holds a lock, which goes first.
        self.close();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let reopened = match *failed {
            Some(number) => journal::cut_from(&self.folder, number).map_err(OpenError::from),
            None => Ok(()),
        };
        match reopened.and_then(|()| open(&self.folder)) {
            Ok(open) => {
                *failed = None;
                *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(open);
                tracing::warn!("the embedded DynamoDB was opened again after a failure");
                Ok(())
            }
            Err(error) => {
                tracing::error!(error = %error, "the embedded DynamoDB cannot be opened again");
                Err(Failed)
            }
        }
    }

    fn close(&self) {
        // It may take a while to end: meanwhile whoever calls is refused, and does not wait.
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        if catch_unwind(AssertUnwindSafe(|| drop(open))).is_err() {
            tracing::error!("the embedded DynamoDB was not closed in order");
        }
    }
}

/// The rows as they were at one moment.
struct Moment<'o> {
    snapshot: Snapshot,
    rows: &'o Keyspace,
}

impl View for Moment<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>, Failed> {
        self.snapshot.get(self.rows, key).map_err(|error| unreadable(&error))
    }

    fn range<'v>(&'v self, keys: Range<Vec<u8>>, backwards: bool) -> Found<'v> {
        if keys.is_empty() {
            return Box::new(std::iter::empty());
        }
        let found = self.snapshot.range(self.rows, keys);
        let row = |guard: fjall::Guard| guard.into_inner().map_err(|error| unreadable(&error));
        if backwards { Box::new(found.rev().map(row)) } else { Box::new(found.map(row)) }
    }
}

/// Makes the folder where it is missing.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    match folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Whoever was interrupted while making the folder had stored nothing, and `fjall` does not go on from there.
fn forget_unfinished(folder: &Path) -> Result<(), OpenError> {
    let marker = folder.join(MARKER);
    if fs::metadata(&marker).is_ok_and(|marker| marker.len() > 0) {
        return Ok(());
    }
    let trees = folder.join(TREES);
    let has_trees = trees.is_dir() && fs::read_dir(&trees)?.next().is_some();
    let journals = journal::all(folder)?;
    if has_trees || journals.iter().any(|journal| !journal.ends_with(FIRST_JOURNAL)) {
        return Err(OpenError::Damaged(format!("{MARKER} is missing")));
    }
    for path in journals.into_iter().chain([marker]) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn open(folder: &Path) -> Result<Open, OpenError> {
    if journal::is_damaged(folder)? {
        return Err(OpenError::Damaged("what was flushed to a journal cannot be read".to_owned()));
    }
    match try_open(folder) {
        // Or it has panicked.
        Err(fjall::Error::JournalRecovery(_) | fjall::Error::Unrecoverable) => {
            // A power cut may leave any part of the last write, which nobody was told of.
            journal::cut_torn(folder)?;
            try_open(folder).map_err(damaged)
        }
        other => other.map_err(damaged),
    }
}

fn try_open(folder: &Path) -> fjall::Result<Open> {
    let opened = catch_unwind(|| {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_cached_files(Some(OPEN_FILES))
            .max_journaling_size(JOURNALS_BYTES)
            .worker_threads(1)
            .open()?;
        let rows = database.keyspace(ROWS, || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .compaction_strategy(Arc::new(Leveled::default().with_l0_threshold(NEWEST_FILES)))
        })?;
        // `fjall` flushes what is in its folders, and not that they are there.
        fs::File::open(folder.join(TREES))?.sync_all()?;
        let smoothing = Smoothing::start(folder, rows.path().join(TABLES))?;
        // Files may be merged right after the start.
        smoothing.wake();
        let prefill = Mutex::new(Prefill::of(folder.to_owned()));
        Ok(Open { outgoing: Mutex::default(), smoothing, prefill, database, rows })
    });
    opened.unwrap_or(Err(fjall::Error::Unrecoverable))
}

fn damaged(error: fjall::Error) -> OpenError {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            OpenError::System(error)
        }
        other => OpenError::Damaged(told(&other)),
    }
}

fn unreadable(error: &fjall::Error) -> Failed {
    tracing::error!(problem = %told(error), "the embedded DynamoDB cannot read");
    Failed
}

/// What it is, without what it is about.
fn told(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Io(error) => error.to_string(),
        other => format!("{other:?}").chars().take(200).collect(),
    }
}
