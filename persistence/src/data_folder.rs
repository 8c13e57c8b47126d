//! The folder in which the embedded servers keep their data, guarded against a second process.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file whose lock guards the folder. It stays behind, empty: the lock ends with the process, however
/// that ends.
const LOCK_FILE: &str = "lock";

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Somebody else has it.
    #[error("the data folder {} is in use by another process", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The file system refuses.
    #[error("the data folder {} cannot be used", folder.display())]
    Refused {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A locked data folder; it stays locked until its last clone is gone.
#[derive(Debug, Clone)]
pub struct DataFolder {
    path: PathBuf,
    _lock: Arc<File>,
}

impl DataFolder {
    /// Makes the folder where it is missing, readable by its owner alone, and locks it. Fails at once when
    /// another process has it. The rights of a folder that exists are left as they are.
    pub fn lock(path: impl Into<PathBuf>) -> Result<Self, DataFolderError> {
        let folder = path.into();
        let refused = |source| DataFolderError::Refused { folder: folder.clone(), source };
        make_private(&folder).map_err(refused)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK_FILE))
            .map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: folder, _lock: Arc::new(lock) }),
            Err(TryLockError::WouldBlock) => Err(DataFolderError::InUse { folder }),
            Err(TryLockError::Error(source)) => Err(refused(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    // The folder must outlive a power cut as well as what is in it.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
