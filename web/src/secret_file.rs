//! The signing secret of the embedded default: made on first start, kept in the data folder.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use engine::{Chance, SystemChance};

use crate::config::Secret;

const NAME: &str = "jwt-secret";
const OWNER_ONLY: u32 = 0o600;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretFileError {
    /// The file cannot be read or written.
    #[error("the signing secret {path} cannot be read or written: {cause}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The file holds no secret of ours.
    #[error(
        "the signing secret {0} is damaged; without it another one is made, and everybody must log in again"
    )]
    Damaged(PathBuf),
}

/// The secret of this data folder. The folder must be ours alone: two processes would each make one.
pub(crate) fn load_or_make(folder: &Path) -> Result<Secret, SecretFileError> {
    let path = folder.join(NAME);
    let failed = |cause| SecretFileError::Io { path: path.clone(), cause };
    match fs::read(&path) {
        Ok(bytes) => {
            fs::set_permissions(&path, Permissions::from_mode(OWNER_ONLY)).map_err(failed)?;
            Secret::new(bytes.trim_ascii().to_vec()).ok_or_else(|| SecretFileError::Damaged(path.clone()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = fresh();
            write(folder, &path, &secret).map_err(failed)?;
            Secret::new(secret.into_bytes()).ok_or_else(|| SecretFileError::Damaged(path.clone()))
        }
        Err(error) => Err(failed(error)),
    }
}

/// A secret that is kept nowhere.
pub(crate) fn fresh() -> String {
    // The operating system's randomness, whatever else is simulated.
    format!("{:032x}{:032x}", SystemChance.bits(), SystemChance.bits())
}

/// Writes the file beside its place and moves it there: it is there whole, or not at all.
fn write(folder: &Path, path: &Path, secret: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&beside)?;
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = load_or_make(folder.path()).unwrap();
        assert_eq!(load_or_make(folder.path()).unwrap(), made);
        let path = folder.path().join(NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        fs::write(&path, "short").unwrap();
        assert!(matches!(load_or_make(folder.path()), Err(SecretFileError::Damaged(_))));
    }
}
