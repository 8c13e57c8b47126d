//! From a folder to a store. Checks the whole folder first, writes, and reads everything back.
//!
//! A row is put as it is, so doing it again changes nothing. Rows go in transactions: the embedded store flushes once
//! for each, and a transaction may be sent again without harm.

use std::collections::HashMap;
use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Put, TransactWriteItem};
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::folder::{FORMAT, Folder, IMPORT, MANIFEST, Manifest, ManifestPart, Reader, Sum, digest};
use super::objects::{Bucket, Object, verify};
use super::row_json::{from_line, to_line};
use super::{PartSummary, Summary, TransferError, buckets, tables};
use crate::dynamo::items::{Item, number_of};
use crate::dynamo::{Dynamo, request_failure};
use crate::s3::{DocumentKind, S3, url_prefix};
use crate::scan::{Pace, ScanError, Watch};
use crate::tables::{TableDefinition, definitions};

/// Rows of one transaction, and of one read (DynamoDB developer guide, "Quotas").
const ROWS_AT_ONCE: usize = 100;
/// Their text: less than the four megabytes that a transaction may have.
const BYTES_AT_ONCE: usize = 2 * 1024 * 1024;
/// Objects that are put or read at once.
const OBJECTS_AT_ONCE: usize = 8;

/// An import.
pub struct Import<'a> {
    /// Where the rows go.
    pub dynamo: &'a Dynamo,
    /// Where the files go.
    pub s3: &'a S3,
    /// What the store is called: an import that was interrupted goes on only into the same.
    pub target: String,
    /// Whether the store may hold other rows and files; those of the same key are replaced.
    pub over: bool,
    /// How fast.
    pub pace: Pace,
}

/// How far it has come.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Progress {
    target: String,
    /// Parts that are whole.
    done: Vec<String>,
    /// Where the next line of the first other part begins.
    at: u64,
}

/// One part, in the folder and in the store.
#[derive(Clone, Copy)]
enum Part<'a> {
    Table { name: &'static str, table: &'a str },
    Bucket(Bucket<'a>, &'static str),
}

impl Part<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Table { name, .. } | Self::Bucket(_, name) => name,
        }
    }

    const fn in_the_store(&self) -> &str {
        match self {
            Self::Table { table, .. } => table,
            Self::Bucket(bucket, _) => bucket.bucket,
        }
    }
}

impl Import<'_> {
    /// Copies everything from `folder`, or what is missing of everything.
    pub async fn run(
        &self,
        folder: &Path,
        now: impl Fn() -> DateTime<Utc>,
        watch: &mut dyn Watch,
    ) -> Result<Summary, TransferError> {
        let folder = Folder::at(folder);
        let manifest: Manifest = folder.read(MANIFEST)?.ok_or(TransferError::NoManifest)?;
        if manifest.begun.format != FORMAT {
            return Err(TransferError::Format(manifest.begun.format));
        }
        let urls = Urls::new(&manifest.begun.documents_bucket, &self.s3.buckets().documents);
        // Files before doctors: nobody can book with a doctor who is not there yet.
        let mut parts: Vec<Part<'_>> = tables(self.dynamo.tables())
            .into_iter()
            .map(|(name, table)| Part::Table { name, table })
            .collect();
        let files = buckets(self.s3.buckets());
        let doctors = parts.len() - 1;
        parts.splice(
            doctors..doctors,
            files.map(|(name, bucket)| Part::Bucket(Bucket { s3: self.s3, name, bucket }, name)),
        );
        for part in &parts {
            self.verify_folder(&folder, *part, &manifest, watch)?;
        }
        self.dynamo.create_missing_tables().await?;
        self.s3.create_missing_buckets().await?;
        let mut progress = self.begin(&folder, &parts).await?;
        for part in &parts {
            if !progress.done.iter().any(|done| done == part.name()) {
                self.write(&folder, *part, &urls, &mut progress, watch).await?;
                progress.done.push(part.name().to_owned());
                progress.at = 0;
                folder.write(IMPORT, &progress)?;
            }
        }
        let mut summary = Summary { parts: Vec::new() };
        for part in &parts {
            summary.parts.push(self.read_back(&folder, *part, &urls, &now, watch).await?);
        }
        folder.remove(IMPORT)?;
        // In the order of the export's.
        summary.parts.sort_by_key(|part| files.iter().any(|(name, _)| *name == part.name));
        Ok(summary)
    }

    /// Goes on with an import into this store, or makes sure that the store may be filled.
    async fn begin(&self, folder: &Folder, parts: &[Part<'_>]) -> Result<Progress, TransferError> {
        match folder.read::<Progress>(IMPORT)? {
            Some(progress) if progress.target == self.target => return Ok(progress),
            Some(progress) => return Err(TransferError::OtherTarget(progress.target)),
            None => {}
        }
        for part in parts {
            let is_empty = match part {
                Part::Table { table, .. } => is_empty(self.dynamo.client(), table).await?,
                Part::Bucket(bucket, _) => bucket.is_empty().await?,
            };
            if !is_empty && !self.over {
                return Err(TransferError::NotEmpty(part.in_the_store().to_owned()));
            }
        }
        let progress = Progress { target: self.target.clone(), ..Progress::default() };
        folder.write(IMPORT, &progress)?;
        Ok(progress)
    }

    /// Whether the folder has what the manifest says.
    fn verify_folder(
        &self,
        folder: &Folder,
        part: Part<'_>,
        manifest: &Manifest,
        watch: &mut dyn Watch,
    ) -> Result<(), TransferError> {
        let path = lines_of(folder, part);
        let damaged = || TransferError::Damaged(path.clone());
        let ManifestPart { sum, sha256, .. } = manifest.parts.get(part.name()).ok_or_else(damaged)?;
        watch.begin(&format!("checking {}", part.name()), Some(sum.count));
        if digest(&path)?.0 != *sha256 {
            return Err(damaged());
        }
        let mut lines = Reader::open(path.clone(), 0)?;
        let mut found = Sum::default();
        while let Some(line) = lines.next()? {
            match part {
                Part::Table { .. } => {
                    from_line(line).map_err(|_| damaged())?;
                    found.add(line);
                }
                Part::Bucket(bucket, _) => {
                    let object: Object = serde_json::from_str(line).map_err(|_| damaged())?;
                    verify(&folder.object(bucket.name, &object.key), &object)?;
                    found.add(&object.counted());
                }
            }
            watch.advance(1);
        }
        if found == *sum { Ok(()) } else { Err(damaged()) }
    }

    async fn write(
        &self,
        folder: &Folder,
        part: Part<'_>,
        urls: &Urls,
        progress: &mut Progress,
        watch: &mut dyn Watch,
    ) -> Result<(), TransferError> {
        watch.begin(&format!("writing {}", part.in_the_store()), None);
        let mut lines = Reader::open(lines_of(folder, part), progress.at)?;
        let dynamo = self.dynamo.unhurried();
        let client = dynamo.client();
        loop {
            let some = some_lines(&mut lines)?;
            if some.is_empty() {
                return Ok(());
            }
            self.pace.take(some.len()).await;
            match part {
                Part::Table { table, .. } => put(client, table, rows(&some, table, urls)?).await?,
                Part::Bucket(bucket, _) => {
                    let objects = objects(&some, bucket)?;
                    let stored = objects.iter().map(|object| bucket.store(folder, object));
                    stream::iter(stored).buffer_unordered(OBJECTS_AT_ONCE).try_collect::<()>().await?;
                }
            }
            watch.advance(some.len() as u64);
            progress.at = lines.at;
            folder.write(IMPORT, progress)?;
        }
    }

    /// Reads back what was written, and compares. Rows whose time was over may be gone already.
    async fn read_back(
        &self,
        folder: &Folder,
        part: Part<'_>,
        urls: &Urls,
        now: impl Fn() -> DateTime<Utc>,
        watch: &mut dyn Watch,
    ) -> Result<PartSummary, TransferError> {
        watch.begin(&format!("reading back {}", part.in_the_store()), None);
        let mut lines = Reader::open(lines_of(folder, part), 0)?;
        let dynamo = self.dynamo.unhurried();
        let client = dynamo.client();
        let (mut expected, mut found, mut left_out) = (Sum::default(), Sum::default(), 0);
        loop {
            let some = some_lines(&mut lines)?;
            if some.is_empty() {
                break;
            }
            self.pace.take(some.len()).await;
            match part {
                Part::Table { table, .. } => {
                    let definition = self.definition(table)?;
                    let mut rows = rows(&some, table, urls)?;
                    let mut stored = get(client, &definition, &rows).await?;
                    let ends = |row: &Item| number_of::<i64>(row, definition.time_to_live?);
                    let now = now().timestamp();
                    for row in rows.drain(..) {
                        match stored.remove(&key_of(&definition, &row)) {
                            Some(row) => found.add(&line(&row, table)?),
                            None if ends(&row).is_some_and(|ends| ends <= now) => {
                                left_out += 1;
                                continue;
                            }
                            None => {}
                        }
                        expected.add(&line(&row, table)?);
                    }
                }
                Part::Bucket(bucket, _) => {
                    let objects = objects(&some, bucket)?;
                    let stored = objects.iter().map(|object| bucket.read_back(&object.key));
                    let stored: Vec<_> = stream::iter(stored).buffered(OBJECTS_AT_ONCE).try_collect().await?;
                    objects.iter().for_each(|object| expected.add(&object.counted()));
                    stored.iter().flatten().for_each(|object| found.add(&object.counted()));
                }
            }
            watch.advance(some.len() as u64);
        }
        if found == expected {
            Ok(PartSummary { name: part.name(), sum: found, left_out })
        } else {
            let part = part.in_the_store().to_owned();
            Err(TransferError::Differs { part, expected: expected.count, found: found.count })
        }
    }

    fn definition(&self, table: &str) -> Result<TableDefinition, ScanError> {
        let found = definitions(self.dynamo.tables()).into_iter().find(|definition| definition.name == table);
        found.ok_or_else(|| ScanError::new(table, "no such table"))
    }
}

/// Documents' URLs name their bucket, which may be another here.
struct Urls {
    from: String,
    to: String,
}

impl Urls {
    fn new(from: &str, to: &str) -> Self {
        Self { from: url_prefix(from), to: url_prefix(to) }
    }

    fn rewrite(&self, row: &mut Item) {
        for kind in DocumentKind::ALL {
            if let Some(AttributeValue::S(url)) = row.get_mut(kind.name())
                && let Some(key) = url.strip_prefix(&self.from)
            {
                *url = format!("{}{key}", self.to);
            }
        }
    }
}

fn lines_of(folder: &Folder, part: Part<'_>) -> std::path::PathBuf {
    match part {
        Part::Table { name, .. } => folder.table(name),
        Part::Bucket(_, name) => folder.bucket(name),
    }
}

/// As many lines as go into one request.
fn some_lines(lines: &mut Reader) -> Result<Vec<String>, TransferError> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while some.len() < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE {
        let Some(line) = lines.next()? else { break };
        bytes += line.len();
        some.push(line.to_owned());
    }
    Ok(some)
}

fn rows(lines: &[String], table: &str, urls: &Urls) -> Result<Vec<Item>, ScanError> {
    let row = |line: &String| {
        let mut row = from_line(line).map_err(|problem| ScanError::new(table, problem.to_string()))?;
        urls.rewrite(&mut row);
        Ok(row)
    };
    lines.iter().map(row).collect()
}

fn objects(lines: &[String], bucket: Bucket<'_>) -> Result<Vec<Object>, ScanError> {
    let object = |line: &String| serde_json::from_str(line);
    let objects: Result<_, _> = lines.iter().map(object).collect();
    objects.map_err(|error| ScanError::new(bucket.bucket, error.to_string()))
}

fn line(row: &Item, table: &str) -> Result<String, TransferError> {
    to_line(row).ok_or_else(|| TransferError::UnknownValue(table.to_owned()))
}

async fn is_empty(client: &Client, table: &str) -> Result<bool, ScanError> {
    let scan = client.scan().table_name(table).limit(1).consistent_read(true).send().await;
    let page = scan.map_err(|error| ScanError::new(table, request_failure(&error)))?;
    Ok(page.count() == 0)
}

async fn put(client: &Client, table: &str, rows: Vec<Item>) -> Result<(), ScanError> {
    let put = |row| {
        let put = Put::builder().table_name(table).set_item(Some(row)).build();
        put.map(|put| TransactWriteItem::builder().put(put).build())
    };
    let puts: Result<Vec<_>, _> = rows.into_iter().map(put).collect();
    let puts = puts.map_err(|error| ScanError::new(table, error.to_string()))?;
    match client.transact_write_items().set_transact_items(Some(puts)).send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(ScanError::new(table, request_failure(&error))),
    }
}

/// What is stored under the keys of these rows, by those keys.
async fn get(
    client: &Client,
    definition: &TableDefinition,
    rows: &[Item],
) -> Result<HashMap<String, Item>, ScanError> {
    let table = &definition.name;
    let failed = |problem: String| ScanError::new(table, problem);
    let keys = rows.iter().map(|row| key(definition, row)).collect();
    let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
    let mut wanted = HashMap::from([(table.clone(), wanted.map_err(|error| failed(error.to_string()))?)]);
    let mut stored = HashMap::new();
    while !wanted.is_empty() {
        let answer = client.batch_get_item().set_request_items(Some(wanted)).send().await;
        let answer = answer.map_err(|error| failed(request_failure(&error)))?;
        let found = answer.responses.unwrap_or_default().remove(table).unwrap_or_default();
        stored.extend(found.into_iter().map(|row| (key_of(definition, &row), row)));
        wanted = answer.unprocessed_keys.unwrap_or_default();
    }
    Ok(stored)
}

fn key(definition: &TableDefinition, row: &Item) -> Item {
    let names = std::iter::once(definition.key.hash).chain(definition.key.range);
    names
        .filter_map(|attribute| row.get_key_value(attribute.name()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The key as a text.
fn key_of(definition: &TableDefinition, row: &Item) -> String {
    to_line(&key(definition, row)).unwrap_or_default()
}
