//! The way in.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

use crate::calls;
use crate::commit::Commits;
use crate::error::Refusal;
use crate::expression::Expressions;
use crate::storage::{File, Memory, OpenError};
use crate::sweep::Cursor;
use crate::tables::Tables;

/// Milliseconds since 1970, whenever asked.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Bytes of a request. A transaction of four megabytes may be longer as JSON.
const REQUEST_MAX: usize = 16 * 1024 * 1024;

/// What is answered to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's status.
    pub status: u16,
    /// JSON.
    pub body: Bytes,
}

impl Answer {
    /// Whether the request was done.
    pub const fn is_success(&self) -> bool {
        self.status == 200
    }
}

/// A running database; clones are the same one. The last one that goes closes it.
#[derive(Clone)]
pub struct Database(Arc<Running>);

struct Running {
    inner: Arc<Inner>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What all calls share.
pub(crate) struct Inner {
    pub(crate) commits: Commits,
    pub(crate) tables: Tables,
    pub(crate) expressions: Expressions,
    pub(crate) clock: Clock,
    /// Where the last sweep ended.
    pub(crate) swept: Mutex<Cursor>,
}

impl Database {
    /// Whether there is a database in the folder.
    pub fn is_in(folder: &Path) -> bool {
        File::is_in(folder)
    }

    /// Opens the database in the folder, or makes one; blocks meanwhile. The folder's own lock keeps other processes out.
    ///
    /// # Errors
    /// When the folder cannot be used, or what is in it is damaged.
    pub fn open(folder: &Path, clock: Clock) -> Result<Self, OpenError> {
        let inner = Arc::new(Inner::new(Commits::new(Box::new(File::open(folder)?), false), clock));
        inner.load()?;
        let writing = Arc::clone(&inner);
        let writer = std::thread::Builder::new()
            .name("dynamo-writer".to_owned())
            .spawn(move || writing.commits.run(|| writing.tables.load(writing.commits.storage())))?;
        Ok(Self(Arc::new(Running { inner, writer: Mutex::new(Some(writer)) })))
    }

    /// A database that is gone with its last clone.
    pub fn memory(clock: Clock) -> Self {
        let inner = Inner::new(Commits::new(Box::new(Memory::default()), true), clock);
        Self(Arc::new(Running { inner: Arc::new(inner), writer: Mutex::default() }))
    }

    /// Answers a request: `operation` is what follows the dot in `X-Amz-Target`.
    pub async fn call(&self, operation: &str, body: Bytes) -> Answer {
        let outcome = match body.len() {
            0..=REQUEST_MAX => calls::answer(&self.0.inner, operation, &body).await,
            _ => Err(Refusal::invalid("the request is too long")),
        };
        match outcome {
            Ok(body) => Answer { status: 200, body },
            Err(refusal) => Answer::from(&refusal),
        }
    }

    /// Looks at so many rows at most, from where the last sweep ended, deletes those that have expired, and says how many. What
    /// deleted tables have left goes too.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn sweep(&self, rows: usize) -> Result<usize, Refusal> {
        self.0.inner.sweep(rows).await
    }
}

impl Database {
    /// Writes what is left and closes the folder; blocks meanwhile. Whoever still calls is refused.
    pub fn close(&self) {
        self.0.close();
    }
}

impl PartialEq for Database {
    /// Whether they are the same one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Database {}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database(..)")
    }
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        Self { status: refusal.status(), body: refusal.body().to_string().into() }
    }
}

impl Inner {
    fn new(commits: Commits, clock: Clock) -> Self {
        Self {
            commits,
            tables: Tables::default(),
            expressions: Expressions::default(),
            clock,
            swept: Mutex::default(),
        }
    }

    fn load(&self) -> Result<(), OpenError> {
        let loaded = self.tables.load(self.commits.storage());
        loaded.map_err(|_| OpenError::Damaged("the definition of a table".to_owned()))
    }

    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }
}

impl Running {
    fn close(&self) {
        self.inner.commits.stop();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread that writes the embedded DynamoDB died");
        }
        self.inner.commits.storage().close();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
    }
}
