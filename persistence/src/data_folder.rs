//! The folder in which the embedded servers keep their data, guarded against a second process.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::chance::{Chance, SystemChance};

/// The file whose lock guards the folder. It stays behind, empty: the lock ends with the process, however
/// that ends.
const LOCK_FILE: &str = "lock";
/// How the file of a running server's address ends.
const ADDRESS_SUFFIX: &str = "-address";
/// The rights of a secret's file.
const OWNER_ONLY: u32 = 0o600;
/// How short a secret may be: 256 bits.
const SECRET_BYTES_MIN: usize = 32;

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

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read or written.
    #[error("the secret {} cannot be read or written", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds no secret of ours.
    #[error(
        "the secret {} is damaged; without it another one is made, and what was signed with it is void",
        .0.display()
    )]
    Damaged(PathBuf),
}

/// A locked data folder; it stays locked until its last clone is gone.
#[derive(Debug, Clone)]
pub struct DataFolder {
    path: PathBuf,
    _lock: Arc<Lock>,
}

/// A locked file. A process that is just being started shares the files of the one that starts it until its own program
/// runs: closing the file would not end the lock so long.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Should it fail, the lock ends when the last who shares the file closes it.
        let _ = self.0.unlock();
    }
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
            Ok(()) => {
                let locked = Self { path: folder.clone(), _lock: Arc::new(Lock(lock)) };
                locked.forget_addresses().map_err(refused)?;
                Ok(locked)
            }
            Err(TryLockError::WouldBlock) => Err(DataFolderError::InUse { folder }),
            Err(TryLockError::Error(source)) => Err(refused(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the server of this name listens, as the process that has the folder wrote it down; `None` when no server
    /// runs there. Needs no lock: it is for those who do not get it.
    pub fn address(folder: &Path, name: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(folder.join(name.to_owned() + ADDRESS_SUFFIX)) {
            Ok(address) => Ok(Some(address.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes down where the server of this name listens, for as long as the answer is kept.
    pub(crate) fn announce(&self, name: &str, address: &str) -> io::Result<Announced> {
        let path = self.path.join(name.to_owned() + ADDRESS_SUFFIX);
        write_private(&path, address.as_bytes())?;
        Ok(Announced(path))
    }

    /// A process that died has left its addresses behind. Whoever holds the lock knows that they are nobody's.
    fn forget_addresses(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(ADDRESS_SUFFIX) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Gives a secret its present name. Does nothing if there is none of the old name, or one of the new name already.
    pub(crate) fn rename_secret(&self, old: &str, new: &str) -> Result<(), SecretError> {
        let [old, new] = [old, new].map(|name| self.path.join(name));
        let failed = |source| SecretError::Io { path: old.clone(), source };
        if new.try_exists().map_err(failed)? {
            return Ok(());
        }
        match fs::rename(&old, &new) {
            Ok(()) => sync_folder(&self.path).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// The secret of this name: made when it is first asked for, the same ever after.
    pub fn secret(&self, name: &str) -> Result<String, SecretError> {
        let path = self.path.join(name);
        let failed = |source| SecretError::Io { path: path.clone(), source };
        let bytes = match fs::read(&path) {
            Ok(bytes) => {
                fs::set_permissions(&path, Permissions::from_mode(OWNER_ONLY)).map_err(failed)?;
                bytes.trim_ascii().to_vec()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = fresh_secret();
                write_private(&path, secret.as_bytes()).map_err(failed)?;
                sync_folder(&self.path).map_err(failed)?;
                secret.into_bytes()
            }
            Err(error) => return Err(failed(error)),
        };
        let secret = String::from_utf8(bytes).ok().filter(|secret| secret.len() >= SECRET_BYTES_MIN);
        secret.ok_or(SecretError::Damaged(path))
    }
}

/// A secret that is kept nowhere.
pub fn fresh_secret() -> String {
    // The operating system's randomness, whatever else is simulated.
    format!("{:032x}{:032x}", SystemChance.bits(), SystemChance.bits())
}

/// Where a server listens, written down in a data folder. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Announced(PathBuf);

impl Drop for Announced {
    fn drop(&mut self) {
        // What stays behind is removed by whoever locks the folder next.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes the file beside its place and moves it there, readable by its owner alone: it is there whole, or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&beside)?;
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Puts onto the disk which files a folder holds.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder where it is missing, readable by its owner alone.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // The folder must outlive a power cut as well as what is in it.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::lock(folder.path()).unwrap();
        let made = folder.secret("jwt-secret").unwrap();
        assert_eq!(folder.secret("jwt-secret").unwrap(), made);
        assert_ne!(folder.secret("another").unwrap(), made);
        let path = folder.path().join("jwt-secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        fs::write(&path, "short").unwrap();
        assert!(matches!(folder.secret("jwt-secret"), Err(SecretError::Damaged(_))));
    }

    #[test]
    fn secret_keeps_its_value_under_its_new_name() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::lock(folder.path()).unwrap();
        folder.rename_secret("old", "new").unwrap();
        let kept = folder.secret("old").unwrap();
        folder.rename_secret("old", "new").unwrap();
        assert_eq!(folder.secret("new").unwrap(), kept);
        // A copy of the old file, which a backup brings back, does not replace the one in use.
        let other = folder.secret("old").unwrap();
        folder.rename_secret("old", "new").unwrap();
        assert!(other != kept && folder.secret("new").unwrap() == kept);
    }

    #[test]
    fn the_folder_is_free_at_once_even_while_another_process_is_being_started() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = DataFolder::lock(scratch.path()).unwrap();
        // The file as a child has it before its own program runs.
        let shared = folder._lock.0.try_clone().unwrap();
        let clone = folder.clone();
        drop(folder);
        assert!(matches!(DataFolder::lock(scratch.path()), Err(DataFolderError::InUse { .. })));
        drop(clone);
        DataFolder::lock(scratch.path()).unwrap();
        drop(shared);
    }

    #[test]
    fn an_address_is_there_while_its_server_runs_and_a_dead_one_s_goes_with_the_next_lock() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = DataFolder::lock(scratch.path()).unwrap();
        let address = || DataFolder::address(scratch.path(), "dynamodb").unwrap();
        let announced = folder.announce("dynamodb", "http://127.0.0.1:1").unwrap();
        assert_eq!(address().as_deref(), Some("http://127.0.0.1:1"));
        let mode = fs::metadata(&announced.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
        drop(announced);
        assert_eq!(address(), None);
        // As a process leaves it that was killed.
        std::mem::forget(folder.announce("dynamodb", "http://127.0.0.1:1").unwrap());
        drop(folder);
        assert!(address().is_some());
        let _folder = DataFolder::lock(scratch.path()).unwrap();
        assert_eq!(address(), None);
    }
}
