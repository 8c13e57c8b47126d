//! Reading a store from one end to the other, for tools: page by page, no faster than asked, and with the patience of a
//! program that nobody waits for.

use std::num::NonZeroU32;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use aws_sdk_s3::operation::list_objects_v2::builders::ListObjectsV2FluentBuilder;
use aws_sdk_s3::types::EncodingType;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::dynamo::items::Item;
use crate::dynamo::{Dynamo, request_failure};
use crate::s3::{S3, decoded, failure_text};

/// Rows of a page: a page is a megabyte at most, and rows of the usual size fill a part of that.
const PAGE_ROWS_MAX: u32 = 500;
/// The longest that one attempt may take, of a store that others use at the same time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// Attempts before a tool gives up: some minutes of a store that is too busy.
const ATTEMPTS_MAX: u32 = 10;

/// Told what a tool does, while it does it.
pub trait Watch {
    /// It turns to another part, of about so much.
    fn begin(&mut self, part: &str, about: Option<u64>);
    /// It has done so much more of it.
    fn advance(&mut self, by: u64);
}

/// The store cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{part} cannot be read: {problem}")]
pub struct ScanError {
    /// Which table or bucket.
    pub part: String,
    /// What the store says; it quotes no row.
    pub problem: String,
}

impl ScanError {
    pub(crate) fn new(part: &str, problem: impl Into<String>) -> Self {
        Self { part: part.to_owned(), problem: problem.into() }
    }
}

/// How many rows a second are read or written at most.
pub struct Pace {
    limiter: Option<DefaultDirectRateLimiter>,
    page: u32,
}

impl Pace {
    /// As fast as one request after another goes.
    pub const fn unbounded() -> Self {
        Self { limiter: None, page: PAGE_ROWS_MAX }
    }

    /// So many rows a second.
    pub fn rows_per_second(rows: NonZeroU32) -> Self {
        let page = rows.min(NonZeroU32::new(PAGE_ROWS_MAX).unwrap_or(rows));
        let quota = Quota::per_second(rows).allow_burst(page);
        Self { limiter: Some(RateLimiter::direct(quota)), page: page.get() }
    }

    /// Waits until so many rows more may be touched.
    pub(crate) async fn take(&self, rows: usize) {
        let Some(limiter) = &self.limiter else { return };
        let mut left = u32::try_from(rows).unwrap_or(u32::MAX);
        while let Some(part) = NonZeroU32::new(left.min(self.page)) {
            // It fails for more than a burst only.
            let _ = limiter.until_n_ready(part).await;
            left -= part.get();
        }
    }
}

impl Dynamo {
    /// The same for tools.
    pub(crate) fn unhurried(&self) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(2))
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let config = self.client().config().to_builder();
        let config = config.timeout_config(timeouts);
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX);
        self.through(Client::from_conf(config.retry_config(retries).build()))
    }
}

/// About how many rows a table has; `None` when there is no such table.
pub(crate) async fn rows_about(client: &Client, table: &str) -> Result<Option<u64>, ScanError> {
    match client.describe_table().table_name(table).send().await {
        Ok(answer) => {
            let count = answer.table.and_then(|table| table.item_count);
            Ok(Some(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default()))
        }
        Err(error) => {
            let missing =
                error.as_service_error().is_some_and(DescribeTableError::is_resource_not_found_exception);
            if missing { Ok(None) } else { Err(ScanError::new(table, request_failure(&error))) }
        }
    }
}

/// A table, page by page. Rows of one partition follow one another.
pub(crate) struct Rows<'a> {
    table: String,
    request: ScanFluentBuilder,
    pace: &'a Pace,
    from: Option<Item>,
    is_done: bool,
}

impl<'a> Rows<'a> {
    pub(crate) fn of(client: &Client, table: &str, pace: &'a Pace) -> Self {
        let limit = i32::try_from(pace.page).unwrap_or(i32::MAX);
        let request = client.scan().table_name(table).limit(limit);
        Self { table: table.to_owned(), request, pace, from: None, is_done: false }
    }

    /// Every row as it is when its page is read, and none that is older; costs twice as much.
    pub(crate) fn consistent(mut self) -> Self {
        self.request = self.request.consistent_read(true);
        self
    }

    /// Goes on after this key.
    pub(crate) fn after(mut self, key: Option<Item>) -> Self {
        self.from = key;
        self
    }

    /// The next page, and the key to go on after, unless it was the last.
    pub(crate) async fn next(&mut self) -> Result<Option<(Vec<Item>, Option<Item>)>, ScanError> {
        if self.is_done {
            return Ok(None);
        }
        let page = self.request.clone().set_exclusive_start_key(self.from.take()).send().await;
        let page = page.map_err(|error| ScanError::new(&self.table, request_failure(&error)))?;
        self.from = page.last_evaluated_key.filter(|key| !key.is_empty());
        self.is_done = self.from.is_none();
        let rows = page.items.unwrap_or_default();
        self.pace.take(rows.len()).await;
        Ok(Some((rows, self.from.clone())))
    }
}

/// The keys of a bucket in their order, page by page.
pub(crate) struct Keys<'a> {
    bucket: String,
    request: ListObjectsV2FluentBuilder,
    pace: &'a Pace,
    token: Option<String>,
    is_done: bool,
}

impl<'a> Keys<'a> {
    pub(crate) fn of(s3: &S3, bucket: &str, pace: &'a Pace) -> Self {
        // XML cannot carry every character that a key may hold.
        let request = s3.client().list_objects_v2().bucket(bucket).encoding_type(EncodingType::Url);
        Self { bucket: bucket.to_owned(), request, pace, token: None, is_done: false }
    }

    /// Only those that begin so.
    pub(crate) fn under(mut self, prefix: &str) -> Self {
        self.request = self.request.prefix(prefix);
        self
    }

    /// Only those after this one.
    pub(crate) fn after(mut self, key: Option<String>) -> Self {
        self.request = self.request.set_start_after(key);
        self
    }

    /// The next page.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<String>>, ScanError> {
        if self.is_done {
            return Ok(None);
        }
        let page = Box::pin(self.request.clone().set_continuation_token(self.token.take()).send()).await;
        let page = page.map_err(|error| ScanError::new(&self.bucket, failure_text(&error)))?;
        let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
        let keys = page.contents().iter().filter_map(|object| object.key());
        let keys = keys.map(|key| if is_encoded { decoded(key) } else { Ok(key.to_owned()) });
        let keys: Result<Vec<String>, _> = keys.collect();
        let keys = keys.map_err(|error| ScanError::new(&self.bucket, error.to_string()))?;
        self.token = page.next_continuation_token.filter(|_| page.is_truncated == Some(true));
        self.is_done = self.token.is_none();
        self.pace.take(keys.len()).await;
        Ok(Some(keys))
    }
}
