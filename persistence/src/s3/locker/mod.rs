//! Patients' files: `{email}/{filename}` in the medilocker bucket.

mod body;
mod metadata;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::EncodingType;
use chrono::{DateTime, Utc};
use engine::chance::{Chance, SystemChance};
use futures::{StreamExt, TryStreamExt, future, stream};
use percent_encoding::percent_decode_str;

use super::error::{FilesError, UploadError, files_error, status};
use super::file_name::FileName;
use super::{S3, link};
use crate::dynamo::Dynamo;

/// Files of one owner that are listed; more are an error.
const LISTED_MAX: usize = 10_000;
/// Files of one list that are looked at at once.
const LOOKS_AT_ONCE: usize = 16;

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

/// Patients' files.
#[derive(Debug, Clone)]
pub struct Locker {
    s3: S3,
    _dynamo: Dynamo,
}

impl Locker {
    pub(super) const fn new(s3: S3, dynamo: Dynamo) -> Self {
        Self { s3, _dynamo: dynamo }
    }

    /// Stores all of these files or none.
    pub async fn upload(
        &self,
        owner: &str,
        mut files: Vec<NewFile>,
        _now: DateTime<Utc>,
    ) -> Result<(), UploadError> {
        let prefix = prefix(owner)?;
        files.sort_by(|one, other| one.name.cmp(&other.name));
        if files.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(UploadError::NameTaken);
        }
        let upload = format!("{:032x}", SystemChance.bits());
        for file in files {
            let metadata = metadata::encode(&file.metadata, &upload).ok_or(UploadError::MetadataTooLarge)?;
            let put = self
                .s3
                .client
                .put_object()
                .bucket(&self.s3.buckets.medilocker)
                .key(format!("{prefix}{}", file.name.as_str()))
                .set_metadata(Some(metadata))
                .if_none_match("*")
                .body(body::of_file(file.content, file.size));
            if let Err(error) = put.send().await {
                return Err(match (status(&error), error.code()) {
                    (Some(412), _) => UploadError::NameTaken,
                    (_, Some("KeyTooLongError")) => UploadError::NameTooLong,
                    (_, Some("MetadataTooLarge")) => UploadError::MetadataTooLarge,
                    _ => files_error(error).into(),
                });
            }
        }
        Ok(())
    }

    /// All files of `owner`, in the order of their names.
    pub async fn list(&self, owner: &str, _now: DateTime<Utc>) -> Result<Vec<StoredFile>, FilesError> {
        let prefix = prefix(owner)?;
        let keys = self.keys(&prefix).await?;
        let looks = keys.into_iter().map(|key| async { Ok((self.look(&key).await?, key)) });
        let files = stream::iter(looks).buffered(LOOKS_AT_ONCE);
        // A file that went in between is not listed.
        let files = files.try_filter_map(|(head, key)| {
            let name = key[prefix.len()..].to_owned();
            future::ready(Ok(head.map(|head| stored_file(name, head))))
        });
        files.try_collect().await
    }

    /// A URL under which the file can be fetched for an hour.
    pub async fn download_url(
        &self,
        owner: &str,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, FilesError> {
        let key = format!("{}{name}", prefix(owner)?);
        if self.look(&key).await?.is_none() {
            return Ok(None);
        }
        let download = self
            .s3
            .presigner
            .get_object()
            .bucket(&self.s3.buckets.medilocker)
            .key(key)
            .response_content_disposition(link::attachment(name));
        link::sign(download, now).await.map(Some)
    }

    /// Deletes a file; says whether there was one.
    pub async fn delete(&self, owner: &str, name: &str, _now: DateTime<Utc>) -> Result<bool, FilesError> {
        let key = format!("{}{name}", prefix(owner)?);
        if self.look(&key).await?.is_none() {
            return Ok(false);
        }
        let request = self.s3.client.delete_object().bucket(&self.s3.buckets.medilocker).key(key);
        request.send().await.map_err(files_error)?;
        Ok(true)
    }

    /// Every key that begins with `prefix`.
    async fn keys(&self, prefix: &str) -> Result<Vec<String>, FilesError> {
        let request = self
            .s3
            .client
            .list_objects_v2()
            .bucket(&self.s3.buckets.medilocker)
            .prefix(prefix)
            // XML cannot carry every character that a key may hold.
            .encoding_type(EncodingType::Url);
        let mut pages = request.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(files_error)?;
            let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
            for key in page.contents().iter().filter_map(|object| object.key()) {
                let key = if is_encoded { decoded(key)? } else { key.to_owned() };
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

    /// What S3 says of an object, if it is there.
    async fn look(&self, key: &str) -> Result<Option<HeadObjectOutput>, FilesError> {
        let request = self.s3.client.head_object().bucket(&self.s3.buckets.medilocker).key(key);
        match request.send().await {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => Ok(None),
            Err(error) => Err(files_error(error)),
        }
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
fn decoded(key: &str) -> Result<String, FilesError> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    Ok(decoded.map_err(|_| FilesError::Refused("a key that is not UTF-8".to_owned()))?.into_owned())
}

fn stored_file(name: String, head: HeadObjectOutput) -> StoredFile {
    let uploaded_at =
        head.last_modified().and_then(|at| DateTime::from_timestamp(at.secs(), at.subsec_nanos()));
    StoredFile {
        name,
        size: head.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or_default(),
        uploaded_at: uploaded_at.unwrap_or_default(),
        metadata: metadata::decode(head.metadata.unwrap_or_default()),
    }
}
