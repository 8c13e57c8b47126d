//! An upload: written down in the journal, put object by object, and struck out, which makes all of it visible.
//!
//! Every object names the upload that it belongs to. One whose upload is in the journal is nobody's to see. So a reader
//! sees all of an upload or nothing, whenever this process ends.
//!
//! - *Two uploads with one name.* Objects are put only where there is none, in the order of their names, so that two
//!   uploads meet at the first name that they share and exactly one goes on. The other removes what it has put.
//! - *A dead upload.* One that is in the journal and not under way in this process is dead: whoever started this
//!   process has taken over the tables. The next call of its owner marks it as given up, which keeps whatever may be
//!   left of its process from striking it out, and then removes its objects. The mark stays for [`LATE_MAX`], so that
//!   an object that arrives late is seen by nobody; when the mark goes, such objects go before it.
//! - *What remains:* a request that arrives later than that, from a machine that was suspended in the midst of sending
//!   it, leaves one object that is visible.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use chrono::{DateTime, TimeDelta, Utc};
use engine::chance::{Chance, SystemChance};
use futures::{StreamExt, TryStreamExt, stream};

use super::metadata::{self, UPLOAD};
use super::{LOOKS_AT_ONCE, Locker, NewFile, body, prefix};
use crate::dynamo::{Entry, Journal};
use crate::s3::error::{FilesError, UploadError, files_error, status};

/// The longest that putting all objects of an upload may take.
const PUTS_MAX: Duration = Duration::from_secs(300);
/// How long after an upload was given up a request of its own may still arrive.
const LATE_MAX: TimeDelta = TimeDelta::minutes(15);
/// How often a put or an entry is tried again when another one is in its way.
const ATTEMPTS_MAX: usize = 5;
/// The pause before a put is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// For how long a dead upload that was swept is not swept again: what arrives late is nobody's to see anyhow.
const SWEPT_FOR: TimeDelta = TimeDelta::seconds(30);
/// Uploads of one owner that are not done or were given up; each takes up to six kilobytes of the journal, which holds
/// 400.
const UPLOADS_MAX: usize = 64;

const _: () = assert!(PUTS_MAX.as_secs() < LATE_MAX.num_seconds().unsigned_abs());

/// The uploads under way in this process.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashSet<String>>);

impl UnderWay {
    fn has(&self, id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    fn enter(self: &Arc<Self>) -> Turn {
        let id = format!("{:032x}", SystemChance.bits());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        Turn { id, under_way: Arc::clone(self) }
    }
}

/// An upload's time under way; over when dropped, however it ended.
struct Turn {
    id: String,
    under_way: Arc<UnderWay>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// When dead uploads were swept, so that not every call of their owner does it again.
#[derive(Debug, Default)]
pub(super) struct Swept(Mutex<HashMap<String, DateTime<Utc>>>);

impl Swept {
    fn has(&self, id: &str, now: DateTime<Utc>) -> bool {
        let swept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        swept.get(id).is_some_and(|at| is_recent(*at, now))
    }

    fn enter(&self, id: &str, now: DateTime<Utc>) {
        let mut swept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        swept.retain(|_, at| is_recent(*at, now));
        swept.insert(id.to_owned(), now);
    }

    fn forget(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Also a clock that is set back ends it.
fn is_recent(swept: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (now - swept).abs() < SWEPT_FOR
}

/// One object to put.
struct Put {
    name: String,
    content: Arc<std::fs::File>,
    size: u64,
    metadata: HashMap<String, String>,
}

impl Locker {
    /// Stores all of these files or none.
    pub async fn upload(
        &self,
        owner: &str,
        files: Vec<NewFile>,
        now: DateTime<Utc>,
    ) -> Result<(), UploadError> {
        let prefix = prefix(owner)?;
        let turn = self.under_way.enter();
        let puts = puts(files, &turn.id)?;
        if puts.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = puts.iter().map(|put| put.name.clone()).collect();
        self.begin(owner, &turn.id, &names, now).await?;
        let all_put = tokio::time::timeout(PUTS_MAX, self.put_all(owner, &prefix, puts, now)).await;
        let refusal = match all_put {
            Ok(Ok(())) => return self.commit(owner, &turn.id).await,
            Ok(Err(refusal)) => refusal,
            Err(_) => FilesError::Unavailable("the upload took too long".to_owned()).into(),
        };
        if let Err(error) = self.roll_back(owner, &prefix, &turn.id, names, &refusal, now).await {
            tracing::warn!(%error, "what is left of an upload will be removed at its owner's next call");
        }
        Err(refusal)
    }

    async fn begin(
        &self,
        owner: &str,
        id: &str,
        names: &[String],
        now: DateTime<Utc>,
    ) -> Result<(), UploadError> {
        // In this process they queue; another process may still come in between.
        let _turn = self.beginning.of(owner).lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let known = self.clean(owner, now).await?;
            if known.uploads.len() >= UPLOADS_MAX {
                return Err(
                    FilesError::Unavailable("too many uploads of one owner at once".to_owned()).into()
                );
            }
            self.check_room(&prefix(owner)?, names).await?;
            if self.uploads.begin(owner, &known, id, names).await.map_err(FilesError::from)? {
                return Ok(());
            }
        }
        Err(FilesError::Unavailable("other uploads of this owner are in the way".to_owned()).into())
    }

    async fn put_all(
        &self,
        owner: &str,
        prefix: &str,
        puts: Vec<Put>,
        now: DateTime<Utc>,
    ) -> Result<(), UploadError> {
        for put in puts {
            let key = format!("{prefix}{}", put.name);
            self.put(owner, key, put, now).await?;
        }
        Ok(())
    }

    async fn put(&self, owner: &str, key: String, put: Put, now: DateTime<Utc>) -> Result<(), UploadError> {
        for _ in 0..ATTEMPTS_MAX {
            let request = self
                .s3
                .client
                .put_object()
                .bucket(&self.s3.buckets.medilocker)
                .key(&key)
                .set_metadata(Some(put.metadata.clone()))
                .if_none_match("*")
                .body(body(Arc::clone(&put.content), put.size));
            let Err(error) = Box::pin(request.send()).await else { return Ok(()) };
            match (status(&error), error.code()) {
                (Some(412), _) => {
                    let there = self.look(&key).await?.and_then(|head| upload_of(head.metadata()));
                    // An earlier attempt of the SDK, whose answer was lost.
                    if there.as_deref() == put.metadata.get(UPLOAD).map(String::as_str) {
                        return Ok(());
                    }
                    let Some(dead) = self.only_if_dead(owner, there).await? else {
                        return Err(UploadError::NameTaken);
                    };
                    self.swept.forget(&dead);
                    self.clean(owner, now).await?;
                }
                // Somebody else is putting this key at this moment.
                (Some(409), _) => tokio::time::sleep(PAUSE).await,
                (_, Some("KeyTooLongError")) => return Err(UploadError::NameTooLong),
                (_, Some("MetadataTooLarge")) => return Err(UploadError::MetadataTooLarge),
                _ => return Err(files_error(error).into()),
            }
        }
        Err(FilesError::Unavailable("other uploads of this owner are in the way".to_owned()).into())
    }

    /// The upload that an object belongs to, if it will never be whole.
    async fn only_if_dead(&self, owner: &str, upload: Option<String>) -> Result<Option<String>, FilesError> {
        let Some(upload) = upload else { return Ok(None) };
        let is_open = self.uploads.read(owner).await?.uploads.contains_key(&upload);
        Ok(Some(upload).filter(|upload| is_open && !self.under_way.has(upload)))
    }

    async fn commit(&self, owner: &str, id: &str) -> Result<(), UploadError> {
        if self.uploads.commit(owner, id).await.map_err(|error| FilesError::from(error).of_last_step())? {
            return Ok(());
        }
        Err(FilesError::Unavailable("another process has taken this upload for dead".to_owned()).into())
    }

    /// Removes what an upload has put.
    async fn roll_back(
        &self,
        owner: &str,
        prefix: &str,
        id: &str,
        names: Vec<String>,
        refusal: &UploadError,
        now: DateTime<Utc>,
    ) -> Result<(), FilesError> {
        self.uploads.give_up(owner, id, now).await?;
        self.remove_objects(prefix, id, &names).await?;
        self.swept.enter(id, now);
        match refusal {
            // A put whose fate is unknown may still arrive.
            UploadError::Store(_) => Ok(()),
            UploadError::NameTaken
            | UploadError::LockerFull
            | UploadError::NameTooLong
            | UploadError::MetadataTooLarge => Ok(self.uploads.forget(owner, id).await?),
        }
    }

    /// Gives the dead uploads of `owner` up and removes what they left. Answers with the journal as it is then.
    pub(super) async fn clean(&self, owner: &str, now: DateTime<Utc>) -> Result<Journal, FilesError> {
        let journal = self.uploads.read(owner).await?;
        if self.dead(&journal, now).next().is_none() {
            return Ok(journal);
        }
        let prefix = prefix(owner)?;
        // Of two that look and then delete, one might delete what came in between.
        let _turn = self.cleaning.of(owner).lock().await;
        let journal = self.uploads.read(owner).await?;
        for (id, entry) in self.dead(&journal, now) {
            if entry.given_up.is_none() && !self.uploads.give_up(owner, id, now).await? {
                continue;
            }
            self.remove_objects(&prefix, id, &entry.names).await?;
            self.swept.enter(id, now);
            if entry.given_up.is_some_and(|given_up| now - given_up >= LATE_MAX) {
                self.uploads.forget(owner, id).await?;
            }
        }
        Ok(self.uploads.read(owner).await?)
    }

    /// Dead uploads that were not swept just now, as far as it is known what they left.
    fn dead<'a>(
        &'a self,
        journal: &'a Journal,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        let uploads = journal.uploads.iter().map(|(id, entry)| (id.as_str(), entry));
        uploads.filter(move |(id, entry)| {
            entry.is_readable && !self.under_way.has(id) && !self.swept.has(id, now)
        })
    }

    /// Removes those objects that belong to this upload.
    async fn remove_objects(&self, prefix: &str, id: &str, names: &[String]) -> Result<(), FilesError> {
        let keys = names.iter().map(|name| format!("{prefix}{name}"));
        let removals = stream::iter(keys.map(|key| self.remove_object(key, id)));
        removals.buffer_unordered(LOOKS_AT_ONCE).try_collect().await
    }

    async fn remove_object(&self, key: String, id: &str) -> Result<(), FilesError> {
        let there = self.look(&key).await?.and_then(|head| upload_of(head.metadata()));
        if there.as_deref() == Some(id) { self.remove(&key).await } else { Ok(()) }
    }
}

/// What is to be put, in the order of the names; a name that comes twice is taken by the first.
fn puts(files: Vec<NewFile>, upload: &str) -> Result<Vec<Put>, UploadError> {
    let mut puts = BTreeMap::new();
    for NewFile { name, content, size, metadata } in files {
        let metadata = metadata::encode(&metadata, upload).ok_or(UploadError::MetadataTooLarge)?;
        let name = name.as_str().to_owned();
        let put = Put { name: name.clone(), content: Arc::new(content), size, metadata };
        if puts.insert(name, put).is_some() {
            return Err(UploadError::NameTaken);
        }
    }
    Ok(puts.into_values().collect())
}

/// The upload that an object belongs to.
pub(crate) fn upload_of(metadata: Option<&HashMap<String, String>>) -> Option<String> {
    metadata.and_then(|metadata| metadata.get(UPLOAD)).cloned()
}
