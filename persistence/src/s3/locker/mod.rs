//! Patients' files: `{email}/{filename}` in the medilocker bucket.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod metadata;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use aws_sdk_s3::operation::head_object::{HeadObjectError, HeadObjectOutput};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::operation::list_objects_v2::builders::ListObjectsV2FluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::EncodingType;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use percent_encoding::percent_decode_str;
use tokio::sync::Mutex;

pub(crate) use self::upload::upload_of;
use self::upload::{Swept, UnderWay};
use super::error::{FilesError, UploadError, files_error};
use super::file_name::{FileName, nfc};
use super::{S3, link};
use crate::dynamo::{Dynamo, Uploads};
use crate::pieces::Pieces;

/// Files that an owner may have for another to be stored. Those who have more, from before, keep them.
const FILES_MAX: usize = 1000;
/// Files of one owner that are listed; more are an error.
const LISTED_MAX: usize = 10_000;
/// The longest key (S3 user guide, "Naming Amazon S3 objects").
const KEY_BYTES_MAX: usize = 1024;
/// Files of one list that are looked at at once.
const LOOKS_AT_ONCE: usize = 16;
/// How often a list is begun anew because an upload began meanwhile.
const LOOKS_MAX: usize = 16;
/// Locks that all owners share.
const LOCKS: usize = 64;

/// A file to store.
pub struct NewFile {
    /// What it is called.
    pub name: FileName,
    /// Where its bytes are: from the start of this file, whatever its position.
    pub content: File,
    /// How many there are.
    pub size: u64,
    /// What its owner says of it.
    pub metadata: BTreeMap<String, String>,
}

/// A file as it is listed.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// What it is called; the old platform took any name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was stored.
    pub uploaded_at: DateTime<Utc>,
    /// As it was uploaded.
    pub metadata: BTreeMap<String, String>,
}

impl fmt::Debug for NewFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewFile").field("size", &self.size).finish_non_exhaustive()
    }
}

impl fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredFile").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Patients' files. A process must have one only, clones aside: what another has under way it takes for dead.
#[derive(Debug, Clone)]
pub struct Locker {
    s3: S3,
    uploads: Uploads,
    under_way: Arc<UnderWay>,
    swept: Arc<Swept>,
    beginning: Arc<Locks>,
    cleaning: Arc<Locks>,
    deleting: Arc<Locks>,
}

/// Which of an owner's files are looked at.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    All,
    /// The one under this key.
    Only(&'a str),
}

/// Locks by owner; a few owners share one. Which ones do is chosen by a keyed hash, so that nobody can pick an address that
/// holds up another owner.
#[derive(Debug)]
struct Locks {
    hasher: RandomState,
    locks: Vec<Mutex<()>>,
}

impl Locker {
    pub(super) fn new(s3: S3, dynamo: &Dynamo) -> Self {
        let locks = || {
            let locks = std::iter::repeat_with(Mutex::default).take(LOCKS).collect();
            Arc::new(Locks { hasher: RandomState::new(), locks })
        };
        Self {
            s3,
            uploads: dynamo.uploads(),
            under_way: Arc::default(),
            swept: Arc::default(),
            beginning: locks(),
            cleaning: locks(),
            deleting: locks(),
        }
    }

    /// All files of `owner`, in the order of their names. Takes one look a file: callers bound how many lists run at once.
    pub async fn list(&self, owner: &str, now: DateTime<Utc>) -> Result<Vec<StoredFile>, FilesError> {
        let prefix = prefix(owner)?;
        let visible = self.visible(owner, now, Wanted::All).await?;
        Ok(visible.into_iter().map(|(key, head)| stored_file(key[prefix.len()..].to_owned(), head)).collect())
    }

    /// A URL under which the file can be fetched for an hour, and no other file that takes its place.
    pub async fn download_url(
        &self,
        owner: &str,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, FilesError> {
        let Some((key, head)) = self.find(owner, name, now).await? else { return Ok(None) };
        let download = self
            .s3
            .presigner
            .get_object()
            .bucket(&self.s3.buckets.medilocker)
            .key(key)
            .response_content_disposition(link::attachment(name));
        link::sign(download, head.e_tag(), now).await.map(Some)
    }

    /// Deletes a file; says whether there was one.
    pub async fn delete(&self, owner: &str, name: &str, now: DateTime<Utc>) -> Result<bool, FilesError> {
        // Of two deletions at once, the later might hit a file that was stored after the earlier.
        let _turn = self.deleting.of(owner).lock().await;
        let Some((key, _)) = self.find(owner, name, now).await? else { return Ok(false) };
        self.remove(&key).await.map_err(FilesError::of_last_step)?;
        Ok(true)
    }

    /// The file of this name and its key, if there is one. Names are composed today; an older key may be spelled otherwise and
    /// is then found among all keys of its owner.
    async fn find(
        &self,
        owner: &str,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<(String, HeadObjectOutput)>, FilesError> {
        let prefix = prefix(owner)?;
        let name = nfc(name);
        let key = format!("{prefix}{name}");
        let found = self.visible_under(owner, &key, now).await?;
        if found.is_some() || name.is_ascii() {
            return Ok(found);
        }
        let keys = self.keys(&prefix).await?;
        match keys.into_iter().find(|key| nfc(&key[prefix.len()..]) == name) {
            Some(older) => self.visible_under(owner, &older, now).await,
            None => Ok(None),
        }
    }

    async fn visible_under(
        &self,
        owner: &str,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<(String, HeadObjectOutput)>, FilesError> {
        Ok(self.visible(owner, now, Wanted::Only(key)).await?.pop())
    }

    /// Those of the wanted objects that are there and belong to no upload under way, with their keys. No upload begins
    /// between the first look and the last: what is seen of any upload is all of it.
    async fn visible(
        &self,
        owner: &str,
        now: DateTime<Utc>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<(String, HeadObjectOutput)>, FilesError> {
        for _ in 0..LOOKS_MAX {
            let before = self.clean(owner, now).await?;
            let keys = match wanted {
                Wanted::All => self.keys(&prefix(owner)?).await?,
                // What S3 could not even be asked for is not there.
                Wanted::Only(key) if key.len() > KEY_BYTES_MAX => Vec::new(),
                Wanted::Only(key) => vec![key.to_owned()],
            };
            let looks = stream::iter(keys.into_iter().map(|key| self.look_under(key)));
            let found: Vec<_> = looks.buffered(LOOKS_AT_ONCE).try_collect().await?;
            if self.uploads.read(owner).await?.version != before.version {
                continue;
            }
            let is_whole = |head: &HeadObjectOutput| {
                upload_of(head.metadata()).is_none_or(|upload| !before.uploads.contains_key(&upload))
            };
            // A file that went in between is not there.
            let found = found.into_iter().filter_map(|(key, head)| Some((key, head?)));
            return Ok(found.filter(|(_, head)| is_whole(head)).collect());
        }
        Err(FilesError::Unavailable("uploads of this owner follow one another too fast".to_owned()))
    }

    /// Refuses files under `prefix` for which there is no room, or of whose name there is one under a key that is spelled
    /// otherwise. (That a key is free is a condition of its put.)
    async fn check_room(&self, prefix: &str, names: &[String]) -> Result<(), UploadError> {
        // A page has room for as many as are kept.
        let page = Box::pin(self.list_under(prefix).send()).await.map_err(files_error)?;
        if page.is_truncated() == Some(true) || page.contents().len() + names.len() > FILES_MAX {
            return Err(UploadError::LockerFull);
        }
        for key in keys_of(&page)? {
            let stored = key.strip_prefix(prefix).unwrap_or_default();
            if nfc(stored) != stored && names.iter().any(|name| *name == nfc(stored)) {
                return Err(UploadError::NameTaken);
            }
        }
        Ok(())
    }

    fn list_under(&self, prefix: &str) -> ListObjectsV2FluentBuilder {
        let request = self.s3.client.list_objects_v2().bucket(&self.s3.buckets.medilocker);
        // XML cannot carry every character that a key may hold.
        request.prefix(prefix).encoding_type(EncodingType::Url)
    }

    /// Every key that begins with `prefix`.
    async fn keys(&self, prefix: &str) -> Result<Vec<String>, FilesError> {
        let mut pages = self.list_under(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = Box::pin(pages.next()).await {
            for key in keys_of(&page.map_err(files_error)?)? {
                if !key.starts_with(prefix) || keys.len() == LISTED_MAX {
                    return Err(FilesError::Refused(
                        "a list that is too long or not of what was asked".to_owned(),
                    ));
                }
                keys.push(key);
            }
        }
        Ok(keys)
    }

    async fn look_under(&self, key: String) -> Result<(String, Option<HeadObjectOutput>), FilesError> {
        let head = self.look(&key).await?;
        Ok((key, head))
    }

    async fn remove(&self, key: &str) -> Result<(), FilesError> {
        let request = self.s3.client.delete_object().bucket(&self.s3.buckets.medilocker).key(key);
        Box::pin(request.send()).await.map(drop).map_err(files_error)
    }

    /// What S3 says of an object, if it is there.
    async fn look(&self, key: &str) -> Result<Option<HeadObjectOutput>, FilesError> {
        let request = self.s3.client.head_object().bucket(&self.s3.buckets.medilocker).key(key);
        // The SDK's futures are large, and others hold this one.
        match Box::pin(request.send()).await {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => Ok(None),
            Err(error) => Err(files_error(error)),
        }
    }
}

/// The keys that a page lists.
fn keys_of(page: &ListObjectsV2Output) -> Result<Vec<String>, FilesError> {
    let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
    let keys = page.contents().iter().filter_map(|object| object.key());
    keys.map(|key| if is_encoded { decoded(key) } else { Ok(key.to_owned()) }).collect()
}

/// A file's bytes, which the SDK reads again when it repeats a request.
pub(crate) fn body(file: Arc<File>, size: u64) -> ByteStream {
    ByteStream::new(SdkBody::retryable(move || {
        SdkBody::from_body_1_x(Pieces::of(Arc::clone(&file), 0..size))
    }))
}

impl Locks {
    fn of(&self, owner: &str) -> &Mutex<()> {
        &self.locks[self.hasher.hash_one(owner) as usize % LOCKS]
    }
}

/// What the keys of an owner's files begin with.
fn prefix(owner: &str) -> Result<String, FilesError> {
    if owner.is_empty() || owner.contains('/') {
        Err(FilesError::UnfitOwner)
    } else {
        Ok(format!("{owner}/"))
    }
}

/// A key from a list that writes spaces as plus signs and percent-encodes the rest.
pub(crate) fn decoded(key: &str) -> Result<String, FilesError> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    Ok(decoded.map_err(|_| FilesError::Refused("a key that is not UTF-8".to_owned()))?.into_owned())
}

fn stored_file(name: String, head: HeadObjectOutput) -> StoredFile {
    let modified = head.last_modified().and_then(|at| DateTime::from_timestamp(at.secs(), at.subsec_nanos()));
    let uploaded_at = head.metadata().and_then(metadata::uploaded_at).or(modified);
    StoredFile {
        name,
        size: head.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or_default(),
        uploaded_at: uploaded_at.unwrap_or_default(),
        metadata: metadata::decode(head.metadata.unwrap_or_default()),
    }
}
