//! From the store to a folder. Reads only.

use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::{StreamExt, TryStreamExt, stream};

use super::folder::{
    BEGUN, Begun, FORMAT, Folder, MANIFEST, Manifest, ManifestPart, Writer, digest, forget_cursor,
};
use super::objects::{Bucket, Fetched, Object};
use super::row_json::{from_line, to_line};
use super::{PartSummary, Summary, TransferError, buckets, tables};
use crate::dynamo::Dynamo;
use crate::dynamo::items::Item;
use crate::s3::{S3, upload_of};
use crate::scan::{Keys, Pace, Rows, ScanError, Watch, rows_about};

/// Objects that are copied at once.
const COPIES_AT_ONCE: usize = 8;
/// How often an owner's files are looked at anew because an upload began meanwhile.
const LOOKS_MAX: usize = 16;
/// After everything that begins with what stands before it, in the order of keys.
const LAST: char = '\u{10ffff}';

/// An export.
pub struct Export<'a> {
    /// Where the rows are.
    pub dynamo: &'a Dynamo,
    /// Where the files are.
    pub s3: &'a S3,
    /// What the store is called: an export that was interrupted goes on only from the same.
    pub source: String,
    /// How fast.
    pub pace: Pace,
}

impl Export<'_> {
    /// Copies everything into `folder`, or what is missing there of everything.
    pub async fn run(
        &self,
        folder: &Path,
        now: impl Fn() -> DateTime<Utc>,
        watch: &mut dyn Watch,
    ) -> Result<Summary, TransferError> {
        let folder = Folder::at(folder);
        let begun = self.begin(&folder)?;
        let mut summary = Summary { parts: Vec::new() };
        let mut manifest = Manifest { begun, ended: String::new(), parts: Default::default() };
        let mut files = Vec::new();
        for (name, table) in tables(self.dynamo.tables()) {
            let lines = folder.table(name);
            let mut writer = Writer::resume(lines.clone())?;
            if !writer.cursor.is_done {
                self.table(table, &mut writer, watch).await?;
            }
            files.push((name, lines, writer.cursor));
        }
        for (name, bucket) in buckets(self.s3.buckets()) {
            let lines = folder.bucket(name);
            let mut writer = Writer::resume(lines.clone())?;
            if !writer.cursor.is_done {
                let bucket = Bucket { s3: self.s3, name, bucket };
                self.bucket(bucket, name == "medilocker", &folder, &mut writer, watch).await?;
            }
            files.push((name, lines, writer.cursor));
        }
        for (name, lines, cursor) in &files {
            let (sha256, _) = digest(lines)?;
            let part = ManifestPart { sum: cursor.sum, sha256, left_out: cursor.left_out };
            manifest.parts.insert((*name).to_owned(), part);
            summary.parts.push(PartSummary { name, sum: cursor.sum, left_out: cursor.left_out });
        }
        manifest.ended = now().to_rfc3339_opts(SecondsFormat::Secs, true);
        folder.write(MANIFEST, &manifest)?;
        files.iter().try_for_each(|(_, lines, _)| forget_cursor(lines))?;
        folder.remove(BEGUN)?;
        Ok(summary)
    }

    /// Takes an empty folder, or one that an export of the same store has begun.
    fn begin(&self, folder: &Folder) -> Result<Begun, TransferError> {
        let begun = Begun {
            format: FORMAT,
            source: self.source.clone(),
            documents_bucket: self.s3.buckets().documents.clone(),
        };
        if folder.has(MANIFEST) {
            return Err(TransferError::Complete);
        }
        match folder.read::<Begun>(BEGUN)? {
            Some(earlier) if earlier == begun => {}
            Some(earlier) => return Err(TransferError::OtherSource(earlier.source)),
            None if folder.is_empty()? => {
                folder.make()?;
                folder.write(BEGUN, &begun)?;
            }
            None => return Err(TransferError::NotAnExport),
        }
        folder.make_parts()?;
        Ok(begun)
    }

    async fn table(
        &self,
        table: &str,
        writer: &mut Writer,
        watch: &mut dyn Watch,
    ) -> Result<(), TransferError> {
        let dynamo = self.dynamo.unhurried();
        let client = dynamo.client();
        let Some(about) = rows_about(client, table).await? else { return writer.save(None, true) };
        watch.begin(table, Some(about));
        watch.advance(writer.cursor.sum.count);
        let after = writer.cursor.after.as_deref().map(from_line).transpose();
        let after = after.map_err(|problem| ScanError::new(table, problem.to_string()))?;
        let mut rows = Rows::of(client, table, &self.pace).consistent().after(after);
        let line = |row: &Item| to_line(row).ok_or_else(|| TransferError::UnknownValue(table.to_owned()));
        while let Some((page, key)) = rows.next().await? {
            for row in &page {
                let line = line(row)?;
                writer.push(&line, &line)?;
            }
            let after = key.as_ref().map(line).transpose()?;
            let is_done = after.is_none();
            writer.save(after, is_done)?;
            watch.advance(page.len() as u64);
        }
        Ok(())
    }

    async fn bucket(
        &self,
        bucket: Bucket<'_>,
        has_owners: bool,
        folder: &Folder,
        writer: &mut Writer,
        watch: &mut dyn Watch,
    ) -> Result<(), TransferError> {
        if !bucket.exists().await? {
            return writer.save(None, true);
        }
        watch.begin(bucket.bucket, None);
        watch.advance(writer.cursor.sum.count);
        let has_journals =
            has_owners && rows_about(self.dynamo.client(), &self.dynamo.tables().engine).await?.is_some();
        let mut keys = Keys::of(self.s3, bucket.bucket, &self.pace).after(writer.cursor.after.clone());
        while let Some(page) = keys.next().await? {
            for key in page {
                let done = writer.cursor.after.as_deref();
                let owner = key.split_once('/').map(|(owner, _)| owner).filter(|_| has_owners);
                let is_of_done = owner.is_some() && owner == done.and_then(|done| owner_of(done));
                if is_of_done || done.is_some_and(|done| key.as_str() <= done) {
                    continue;
                }
                let (copies, after) = match owner {
                    Some(owner) => {
                        let copies = self.owner(bucket, owner, has_journals, folder).await?;
                        (copies, format!("{owner}/{LAST}"))
                    }
                    None => (vec![bucket.fetch(folder, &key, |_| true).await?], key.clone()),
                };
                for copy in copies {
                    match copy {
                        Fetched::Stored(object) => push(writer, bucket, &object)?,
                        Fetched::Unwanted => writer.cursor.left_out += 1,
                        Fetched::Gone => {}
                    }
                    watch.advance(1);
                }
                writer.save(Some(after), false)?;
            }
        }
        writer.save(None, true)
    }

    /// Copies the files of one owner that belong to no upload under way. As when they are listed: no upload begins
    /// between the first look and the last, so of any upload all is copied or nothing.
    async fn owner(
        &self,
        bucket: Bucket<'_>,
        owner: &str,
        has_journals: bool,
        folder: &Folder,
    ) -> Result<Vec<Fetched>, TransferError> {
        let uploads = self.dynamo.unhurried().uploads();
        let journal = async || match has_journals && !owner.is_empty() {
            true => uploads.read(owner).await,
            false => Ok(Default::default()),
        };
        let failed = |error: engine::store::LoadError| ScanError::new(bucket.bucket, error.to_string());
        for _ in 0..LOOKS_MAX {
            let before = journal().await.map_err(failed)?;
            let mut found = Vec::new();
            let mut keys = Keys::of(self.s3, bucket.bucket, &self.pace).under(&format!("{owner}/"));
            while let Some(page) = keys.next().await? {
                found.extend(page);
            }
            let is_whole = |metadata: Option<&_>| {
                upload_of(metadata).is_none_or(|upload| !before.uploads.contains_key(&upload))
            };
            let copies = found.iter().map(|key| bucket.fetch(folder, key, is_whole));
            let copies = stream::iter(copies).buffered(COPIES_AT_ONCE).try_collect().await?;
            if journal().await.map_err(failed)?.version == before.version {
                return Ok(copies);
            }
        }
        Err(TransferError::Busy)
    }
}

fn owner_of(key: &str) -> Option<&str> {
    key.split_once('/').map(|(owner, _)| owner)
}

fn push(writer: &mut Writer, bucket: Bucket<'_>, object: &Object) -> Result<(), TransferError> {
    let line = serde_json::to_string(object);
    let line = line.map_err(|error| ScanError::new(bucket.bucket, error.to_string()))?;
    writer.push(&line, &object.counted())
}
