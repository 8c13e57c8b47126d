//! Objects as files, one each: the bytes, then what is known of them, so that neither is ever there without the other.
//!
//! An object lies at `objects/{bucket}/{hash}/{hash}`: the hash of its key's first part up to the first `/`, then that
//! of its key. No key can reach outside, keys that differ in case or in a composed letter stay apart on any file
//! system, and no name of a patient's file shows in a folder. Files begin with the object's own bytes, so whatever
//! opens the object opens the file.
//!
//! A file is written aside, flushed, moved to its place in one step, and the folder flushed: after a crash an object is
//! there whole or not at all, and what was answered is there.
//!
//! Everything here blocks.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data_folder::{make_private, sync_folder};

/// Where whole objects are.
const OBJECTS: &str = "objects";
/// Where objects are written; emptied at each start.
const INCOMING: &str = "incoming";
/// How every object's file ends; the four bytes before say how long the description before them is.
const MARK: &[u8; 8] = b"kokoro\x001";
/// The mark and the length.
const TAIL: usize = MARK.len() + size_of::<u32>();
/// The longest description: S3's longest key and metadata, with room for JSON's escapes.
const ABOUT_MAX: u32 = 64 * 1024;

/// What is known of an object beside its bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct About {
    pub(super) key: String,
    /// The MD5 of the bytes, in hexadecimal.
    pub(super) e_tag: String,
    pub(super) content_type: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// An object that was found; its bytes can be read even when it is deleted meanwhile.
pub(super) struct Stored {
    pub(super) about: About,
    pub(super) file: Arc<File>,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

/// An object as it is listed. Its file is closed: a bucket may have more objects than a process may open.
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) e_tag: String,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

/// An object that is being written. Gone when dropped, unless it was placed.
pub(super) struct Incoming {
    path: PathBuf,
    pub(super) file: File,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // A placed object is no longer there.
        let _ = fs::remove_file(&self.path);
    }
}

/// The objects under one folder, which this process has for itself.
pub(super) struct Objects {
    objects: PathBuf,
    incoming: PathBuf,
    next: AtomicU64,
    /// Held while an object is moved to its place: nobody else looks and moves meanwhile.
    placing: Mutex<()>,
}

impl Objects {
    /// Opens the folder, and throws away what a crash left half written.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let [objects, incoming] = [OBJECTS, INCOMING].map(|name| folder.join(name));
        make_private(&objects)?;
        make_private(&incoming)?;
        for left in fs::read_dir(&incoming)? {
            fs::remove_file(left?.path())?;
        }
        Ok(Self { objects, incoming, next: AtomicU64::new(0), placing: Mutex::default() })
    }

    /// Whether there is such a bucket.
    pub(super) fn has_bucket(&self, bucket: &str) -> bool {
        self.objects.join(bucket).is_dir()
    }

    /// Creates a bucket; says whether it was not there.
    pub(super) fn create_bucket(&self, bucket: &str) -> io::Result<bool> {
        create_folder(&self.objects.join(bucket))
    }

    /// A file to write an object to.
    pub(super) fn incoming(&self) -> io::Result<Incoming> {
        let path = self.incoming.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Incoming { path, file })
    }

    /// Makes what was written an object, in the place of an earlier one unless `only_new`. Says whether it did. When it
    /// returns, that is on the disk.
    pub(super) fn place(
        &self,
        mut incoming: Incoming,
        bucket: &str,
        about: &About,
        only_new: bool,
    ) -> io::Result<bool> {
        let description = serde_json::to_vec(about)?;
        let length = u32::try_from(description.len()).ok().filter(|length| *length <= ABOUT_MAX);
        let length = length.ok_or(ErrorKind::InvalidInput)?;
        incoming.file.write_all(&[&description[..], &length.to_le_bytes(), MARK].concat())?;
        incoming.file.sync_all()?;
        let folder = self.folder(bucket, &about.key);
        let place = folder.join(hash(&about.key));
        let turn = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if only_new && place.try_exists()? {
            return Ok(false);
        }
        create_folder(&folder)?;
        fs::rename(&incoming.path, &place)?;
        drop(turn);
        sync_folder(&folder)?;
        Ok(true)
    }

    /// Looks for an object.
    pub(super) fn find(&self, bucket: &str, key: &str) -> io::Result<Option<Stored>> {
        match File::open(self.folder(bucket, key).join(hash(key))) {
            Ok(file) => read(file).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object, if it is there. When it returns, that is on the disk.
    pub(super) fn remove(&self, bucket: &str, key: &str) -> io::Result<()> {
        let folder = self.folder(bucket, key);
        match fs::remove_file(folder.join(hash(key))) {
            Ok(()) => sync_folder(&folder),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The objects whose keys begin with `prefix` and come after `after`, in the order of their keys, `max` at most.
    /// What is damaged is left out; what cannot be opened is an error, else it would be taken for absent.
    pub(super) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> io::Result<Vec<Listed>> {
        let folders = if prefix.contains('/') {
            vec![self.folder(bucket, prefix)]
        } else {
            paths_in(&self.objects.join(bucket))?
        };
        let mut found: BTreeMap<String, Listed> = BTreeMap::new();
        for folder in folders {
            for path in paths_in(&folder)? {
                let listed = match File::open(path).and_then(read) {
                    Ok(stored) => Listed::from(stored),
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) if is_damage(error.kind()) => {
                        tracing::error!(bucket, %error, "a stored object cannot be read and is not listed");
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                if listed.key.starts_with(prefix) && after.is_none_or(|after| listed.key.as_str() > after) {
                    found.insert(listed.key.clone(), listed);
                    if found.len() > max {
                        found.pop_last();
                    }
                }
            }
        }
        Ok(found.into_values().collect())
    }

    fn folder(&self, bucket: &str, key: &str) -> PathBuf {
        let first = key.find('/').map_or("", |end| &key[..=end]);
        self.objects.join(bucket).join(hash(first))
    }
}

impl From<Stored> for Listed {
    fn from(Stored { about: About { key, e_tag, .. }, size, modified, .. }: Stored) -> Self {
        Self { key, e_tag, size, modified }
    }
}

/// Whether a file is there and is none of ours, or no longer.
fn is_damage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Creates a folder in one that exists; says whether it was not there.
fn create_folder(folder: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => folder.parent().map_or(Ok(()), sync_folder).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a folder holds; nothing when it is not there.
fn paths_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn read(file: File) -> io::Result<Stored> {
    let damaged = || io::Error::new(ErrorKind::InvalidData, "an object's file is damaged");
    let metadata = file.metadata()?;
    let tail_at = metadata.len().checked_sub(TAIL as u64).ok_or_else(damaged)?;
    let mut length = [0; size_of::<u32>()];
    let mut mark = [0; MARK.len()];
    file.read_exact_at(&mut length, tail_at)?;
    file.read_exact_at(&mut mark, tail_at + length.len() as u64)?;
    let length = u32::from_le_bytes(length);
    let size = tail_at.checked_sub(u64::from(length));
    let size = size.filter(|_| &mark == MARK && length <= ABOUT_MAX).ok_or_else(damaged)?;
    let mut description = vec![0; length as usize];
    file.read_exact_at(&mut description, size)?;
    let about = serde_json::from_slice(&description)?;
    Ok(Stored { about, file: Arc::new(file), size, modified: metadata.modified()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(key: &str) -> About {
        About { key: key.to_owned(), e_tag: String::new(), content_type: None, metadata: BTreeMap::new() }
    }

    fn put(objects: &Objects, key: &str, bytes: &[u8]) -> io::Result<bool> {
        let mut incoming = objects.incoming()?;
        incoming.file.write_all(bytes)?;
        objects.place(incoming, "bucket", &about(key), true)
    }

    fn list(objects: &Objects, prefix: &str) -> Vec<String> {
        let listed = objects.list("bucket", prefix, None, usize::MAX).unwrap();
        listed.into_iter().map(|listed| listed.key).collect()
    }

    #[test]
    fn an_object_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        objects.create_bucket("bucket").unwrap();
        let mut given_up = objects.incoming().unwrap();
        given_up.file.write_all(b"half").unwrap();
        drop(given_up);
        let mut cut_short = objects.incoming().unwrap();
        cut_short.file.write_all(b"half").unwrap();
        // As a crash leaves it.
        std::mem::forget(cut_short);

        let objects = Objects::open(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path().join(INCOMING)).unwrap().count(), 0);
        assert!(list(&objects, "").is_empty());
        assert!(put(&objects, "a/b", b"whole").unwrap());
        assert_eq!(objects.find("bucket", "a/b").unwrap().unwrap().size, 5);
    }

    #[test]
    fn any_key_is_a_key_and_none_is_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("deep")).unwrap();
        objects.create_bucket("bucket").unwrap();
        let keys = ["", "..", "../x", "/", "//", "a", "a/", "a/../../../b", "a/b", "a/b/c", "A/b", "a\0\n"];
        for key in keys {
            assert!(put(&objects, key, key.as_bytes()).unwrap() && !put(&objects, key, b"again").unwrap());
        }
        assert_eq!(list(&objects, ""), {
            let mut sorted = keys.to_vec();
            sorted.sort_unstable();
            let pages = (0..).scan(None, |after: &mut Option<String>, _| {
                let page = objects.list("bucket", "", after.as_deref(), 5).unwrap();
                *after = Some(page.last()?.key.clone());
                Some(page.into_iter().map(|listed| listed.key))
            });
            assert_eq!(pages.flatten().collect::<Vec<_>>(), sorted);
            sorted
        });
        assert_eq!(list(&objects, "a/").len(), 4);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_damaged_is_not_listed_and_is_an_error_when_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        objects.create_bucket("bucket").unwrap();
        for damage in [&b""[..], b"short", &[0; 100], &[0xff; 100]] {
            put(&objects, "a/b", b"bytes").unwrap();
            fs::write(objects.folder("bucket", "a/b").join(hash("a/b")), damage).unwrap();
            assert!(list(&objects, "a/").is_empty());
            assert!(objects.find("bucket", "a/b").is_err());
            objects.remove("bucket", "a/b").unwrap();
        }
    }
}
