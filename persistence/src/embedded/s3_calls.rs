//! The calls of S3 that this program makes, over [`Objects`]; every other is refused as not implemented.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures::StreamExt;
use hyper::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::{Extensions, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{
    ChecksumAlgorithm, CreateBucketInput, CreateBucketOutput, DeleteObjectInput, DeleteObjectOutput, ETag,
    EncodingType, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput,
    StreamingBlob, Timestamp,
};
use s3s::{Body, S3, S3Error, S3Request, S3Response, S3Result, TrailingHeaders, s3_error};
use tokio::io::AsyncWriteExt;

use super::conditions::{Conditions, Outcome, Validators};
use super::objects::{About, Listed, Objects, Stored};
use super::reads::Status;
use crate::pieces::Pieces;

/// The largest object: what the program's own limit lets through, and then some.
const OBJECT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Keys in a page of a list, as in S3.
const PAGE_MAX: usize = 1000;
/// What a list leaves as it is when it is asked to encode keys.
const UNENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Answers S3's calls.
#[derive(Clone)]
pub(super) struct Calls {
    objects: Arc<Objects>,
}

impl Calls {
    pub(super) fn new(objects: Objects) -> Self {
        Self { objects: Arc::new(objects) }
    }

    /// Does what blocks on a thread that may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Objects) -> io::Result<T> + Send + 'static,
    ) -> S3Result<T> {
        let objects = Arc::clone(&self.objects);
        let done = tokio::task::spawn_blocking(move || work(&objects)).await;
        done.unwrap_or_else(|died| Err(io::Error::other(died))).map_err(|error| broken(&error))
    }

    /// The object, or which of the two is missing.
    async fn find(&self, bucket: String, key: String) -> S3Result<Stored> {
        let found = self.blocking(move |objects| {
            let found = objects.find(&bucket, &key)?;
            Ok(found.ok_or_else(|| objects.has_bucket(&bucket)))
        });
        found
            .await?
            .map_err(|has_bucket| if has_bucket { s3_error!(NoSuchKey) } else { s3_error!(NoSuchBucket) })
    }

    /// Finds an object and evaluates the conditions of the request. Tag, date, size and bytes come from one open file.
    async fn read(&self, bucket: String, key: String, extensions: &Extensions) -> S3Result<Read> {
        let stored = self.find(bucket, key).await?;
        let conditions = extensions.get::<Conditions>().cloned().unwrap_or_default();
        let size = stored.size;
        let object = Validators { e_tag: &stored.about.e_tag, modified: stored.modified, size };
        match conditions.evaluate(&object) {
            Outcome::Whole => Ok(Read { stored, part: 0..size, status: StatusCode::OK }),
            Outcome::Part(part) => Ok(Read { stored, part, status: StatusCode::PARTIAL_CONTENT }),
            Outcome::NotModified => Ok(Read { stored, part: 0..0, status: StatusCode::NOT_MODIFIED }),
            Outcome::PreconditionFailed => Err(s3_error!(PreconditionFailed)),
            Outcome::NotSatisfiable => Err(not_satisfiable(size)?),
        }
    }
}

/// The answer to a GET or HEAD.
struct Read {
    stored: Stored,
    /// The bytes to send.
    part: Range<u64>,
    status: StatusCode,
}

#[async_trait::async_trait]
impl S3 for Calls {
    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        let bucket = req.input.bucket;
        if self.blocking(move |objects| Ok(objects.has_bucket(&bucket))).await? {
            Ok(S3Response::new(HeadBucketOutput::default()))
        } else {
            Err(s3_error!(NoSuchBucket))
        }
    }

    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = req.input.bucket;
        if self.blocking(move |objects| objects.create_bucket(&bucket)).await? {
            Ok(S3Response::new(CreateBucketOutput::default()))
        } else {
            Err(s3_error!(BucketAlreadyOwnedByYou))
        }
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let S3Request { input, trailing_headers, .. } = req;
        let only_new = match &input.if_none_match {
            None => false,
            Some(condition) if condition.is_any() => true,
            Some(_) => return Err(s3_error!(NotImplemented)),
        };
        if input.if_match.is_some() {
            return Err(s3_error!(NotImplemented));
        }
        let bucket = input.bucket.clone();
        if !self.blocking(move |objects| Ok(objects.has_bucket(&bucket))).await? {
            return Err(s3_error!(NoSuchBucket));
        }
        let mut incoming = self.blocking(Objects::incoming).await?;
        let mut aside = tokio::fs::File::from_std(incoming.file.try_clone().map_err(|error| broken(&error))?);
        let mut input = input;
        let digests = receive(&mut input, &mut aside).await?;
        aside.flush().await.map_err(|error| broken(&error))?;
        let e_tag = digests.verified(&input, trailing_headers.as_ref())?;
        let about = About {
            key: input.key,
            e_tag: e_tag.clone(),
            content_type: input.content_type,
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
        };
        incoming.file = aside.into_std().await;
        let bucket = input.bucket;
        let placed = self.blocking(move |objects| objects.place(incoming, &bucket, &about, only_new)).await?;
        if !placed {
            return Err(s3_error!(PreconditionFailed));
        }
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(e_tag)), ..Default::default() }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let HeadObjectInput { bucket, key, .. } = req.input;
        // A range counts for HEAD as well: S3's reference of `HeadObject` says so, unlike RFC 9110.
        let Read { stored, part, status } = self.read(bucket, key, &req.extensions).await?;
        let output = HeadObjectOutput {
            content_length: Some(signed(part.end - part.start)?),
            content_range: content_range(status, &part, stored.size),
            accept_ranges: Some("bytes".to_owned()),
            content_type: stored.about.content_type,
            e_tag: Some(ETag::Strong(stored.about.e_tag)),
            last_modified: Some(Timestamp::from(stored.modified)),
            metadata: Some(stored.about.metadata.into_iter().collect()),
            ..Default::default()
        };
        Ok(with_status(output, status))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput { bucket, key, .. } = req.input;
        let Read { stored, part, status } = self.read(bucket, key, &req.extensions).await?;
        let output = GetObjectOutput {
            content_length: Some(signed(part.end - part.start)?),
            content_range: content_range(status, &part, stored.size),
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::from(Body::http_body(Pieces::of(stored.file, part)))),
            content_type: stored.about.content_type,
            e_tag: Some(ETag::Strong(stored.about.e_tag)),
            last_modified: Some(Timestamp::from(stored.modified)),
            metadata: Some(stored.about.metadata.into_iter().collect()),
            ..Default::default()
        };
        Ok(with_status(output, status))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let DeleteObjectInput { bucket, key, if_match, .. } = req.input;
        if if_match.is_some() {
            return Err(s3_error!(NotImplemented));
        }
        self.blocking(move |objects| objects.remove(&bucket, &key)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input { bucket, prefix, continuation_token, start_after, encoding_type, .. } =
            req.input;
        if req.input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented));
        }
        let after = match continuation_token.as_deref() {
            Some(token) => Some(key_of(token).ok_or_else(|| s3_error!(InvalidArgument))?),
            None => start_after.clone(),
        };
        let page = req.input.max_keys.and_then(|keys| usize::try_from(keys).ok());
        let page = page.unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let wanted = prefix.clone().unwrap_or_default();
        let found = self.blocking(move |objects| {
            if !objects.has_bucket(&bucket) {
                return Ok(None);
            }
            objects.list(&bucket, &wanted, after.as_deref(), page + 1).map(Some)
        });
        let mut found = found.await?.ok_or_else(|| s3_error!(NoSuchBucket))?;
        let is_truncated = found.len() > page;
        found.truncate(page);
        let next = found.last().filter(|_| is_truncated).map(|last| token_of(&last.key));
        let is_encoded =
            encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
        let contents = found.into_iter().map(|listed| object(listed, is_encoded));
        let contents: Vec<Object> = contents.collect::<S3Result<_>>()?;
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len()).ok(),
            contents: Some(contents),
            is_truncated: Some(is_truncated),
            next_continuation_token: next,
            continuation_token,
            encoding_type,
            prefix: prefix.map(|prefix| if is_encoded { encoded(&prefix) } else { prefix }),
            ..Default::default()
        }))
    }
}

/// The `Content-Range` of a partial answer.
fn content_range(status: StatusCode, part: &Range<u64>, size: u64) -> Option<String> {
    let is_part = status == StatusCode::PARTIAL_CONTENT;
    is_part.then(|| format!("bytes {}-{}/{size}", part.start, part.end - 1))
}

fn with_status<T>(output: T, status: StatusCode) -> S3Response<T> {
    let mut response = S3Response::new(output);
    response.extensions.insert(Status(status));
    response
}

fn not_satisfiable(size: u64) -> S3Result<S3Error> {
    let unsatisfied = HeaderValue::try_from(format!("bytes */{size}")).map_err(S3Error::internal_error)?;
    let mut error = s3_error!(InvalidRange);
    // `s3s` replaces all headers of the error with these.
    let xml = (CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    error.set_headers(HeaderMap::from_iter([xml, (CONTENT_RANGE, unsatisfied)]));
    Ok(error)
}

/// What was computed of a body while it was written.
struct Digests {
    size: u64,
    md5: Md5,
    checksums: ChecksumHasher,
}

/// Writes the body to `aside`.
async fn receive(input: &mut PutObjectInput, aside: &mut tokio::fs::File) -> S3Result<Digests> {
    let mut body = input.body.take().ok_or_else(|| s3_error!(IncompleteBody))?;
    let mut digests = Digests { size: 0, md5: Md5::new(), checksums: wanted_checksums(input)? };
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| S3Error::with_source(s3s::S3ErrorCode::IncompleteBody, error))?;
        digests.size += piece.len() as u64;
        if digests.size > OBJECT_BYTES_MAX {
            return Err(s3_error!(EntityTooLarge));
        }
        digests.md5.update(&piece);
        digests.checksums.update(&piece);
        aside.write_all(&piece).await.map_err(|error| broken(&error))?;
    }
    Ok(digests)
}

/// The checksums that the caller sends, or announces for the end of the body.
fn wanted_checksums(input: &PutObjectInput) -> S3Result<ChecksumHasher> {
    let announced = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
    let wants = |sent: bool, name: &str| sent || announced == Some(name);
    let checksums = ChecksumHasher {
        crc32: wants(input.checksum_crc32.is_some(), ChecksumAlgorithm::CRC32).then(Crc32::new),
        crc32c: wants(input.checksum_crc32c.is_some(), ChecksumAlgorithm::CRC32C).then(Crc32c::new),
        sha1: wants(input.checksum_sha1.is_some(), ChecksumAlgorithm::SHA1).then(Sha1::new),
        sha256: wants(input.checksum_sha256.is_some(), ChecksumAlgorithm::SHA256).then(Sha256::new),
        crc64nvme: wants(input.checksum_crc64nvme.is_some(), ChecksumAlgorithm::CRC64NVME)
            .then(Crc64Nvme::new),
    };
    Ok(checksums)
}

impl Digests {
    /// The entity tag, if the body is what its sender says.
    fn verified(self, input: &PutObjectInput, trailers: Option<&TrailingHeaders>) -> S3Result<String> {
        let trailers = trailers.and_then(TrailingHeaders::take).unwrap_or_default();
        let computed = self.checksums.finalize();
        let md5 = self.md5.finalize();
        let sums = [
            ("x-amz-checksum-crc32", &input.checksum_crc32, computed.checksum_crc32),
            ("x-amz-checksum-crc32c", &input.checksum_crc32c, computed.checksum_crc32c),
            ("x-amz-checksum-sha1", &input.checksum_sha1, computed.checksum_sha1),
            ("x-amz-checksum-sha256", &input.checksum_sha256, computed.checksum_sha256),
            ("x-amz-checksum-crc64nvme", &input.checksum_crc64nvme, computed.checksum_crc64nvme),
            ("content-md5", &input.content_md5, Some(STANDARD.encode(md5))),
        ];
        for (name, sent, computed) in sums {
            let trailer = trailers.get(name).and_then(|value| value.to_str().ok());
            let sent = sent.as_deref().or(trailer);
            if sent.is_some() && sent != computed.as_deref() {
                return Err(s3_error!(BadDigest));
            }
        }
        if input.content_length.is_some_and(|length| u64::try_from(length) != Ok(self.size)) {
            return Err(s3_error!(IncompleteBody));
        }
        Ok(hex::encode(md5))
    }
}

fn object(listed: Listed, is_encoded: bool) -> S3Result<Object> {
    Ok(Object {
        key: Some(if is_encoded { encoded(&listed.key) } else { listed.key }),
        size: Some(signed(listed.size)?),
        last_modified: Some(Timestamp::from(listed.modified)),
        e_tag: Some(ETag::Strong(listed.e_tag)),
        ..Default::default()
    })
}

fn encoded(key: &str) -> String {
    utf8_percent_encode(key, UNENCODED).to_string()
}

/// Where the next page goes on, in characters that any document can carry.
fn token_of(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

fn key_of(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

fn signed(size: u64) -> S3Result<i64> {
    i64::try_from(size).map_err(|_| s3_error!(InternalError))
}

/// The disk fails. The text names files by their hashes only.
fn broken(error: &io::Error) -> S3Error {
    tracing::error!(%error, "the embedded S3 cannot read or write its files");
    s3_error!(InternalError)
}
