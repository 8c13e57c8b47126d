//! The access key of the embedded servers. Both check signatures against the same one, because a process that is given the
//! addresses of both has one `AWS_ACCESS_KEY_ID`.

use std::io;
use std::path::Path;

use super::Where;
use crate::aws::AccessKeys;
use crate::data_folder::{SecretError, fresh_secret};

/// The access key id.
const ID: &str = "kokoro";
/// The file of the secret access key, in the data folder.
const SECRET: &str = "store-secret";
/// The name of that file when the embedded S3 alone checked signatures.
const OLD_SECRET: &str = "s3-secret";

impl AccessKeys {
    /// Returns the key of a server over this place. Creates it when the data folder has none.
    pub(super) fn of(place: &Where) -> Result<Self, SecretError> {
        let secret = match place {
            Where::Memory => fresh_secret(),
            Where::File(folder) => {
                folder.rename_secret(OLD_SECRET, SECRET)?;
                folder.secret(SECRET)?
            }
        };
        Ok(Self { id: ID.to_owned(), secret })
    }

    /// Reads the key from a data folder that another process has locked.
    pub(super) fn kept_in(folder: &Path) -> io::Result<Self> {
        let secret = std::fs::read_to_string(folder.join(SECRET))?.trim().to_owned();
        Ok(Self { id: ID.to_owned(), secret })
    }
}
