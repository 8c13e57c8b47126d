//! A patient's files: putting them in, seeing which there are, getting one, taking one away.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Payload};
use chrono::SecondsFormat;
use persistence::{AuditAction, StoredFile, nfc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::error::{ApiError, FileRefusal};
use crate::json::JsonBody;
use crate::openapi::fields;
use crate::peer::Network;
use crate::places::{Bounds, quarter_of};
use crate::services::{Actor, Audit, Deed};
use crate::state::AppState;
use crate::telemetry::RequestId;

/// Lockers that are listed at once, with one look at each file.
pub(crate) const LOCKER_LISTS: Bounds = Bounds {
    name: "locker_lists",
    at_once: 8,
    of_network: quarter_of(8),
    waiting_max: 64,
    wait: Duration::from_secs(5),
    evicted_after: None,
};
/// Lists of one user at once, those that wait included.
const OF_ONE_USER: usize = 4;

/// No file has a longer name, whoever stored it (S3 user guide, "Naming Amazon S3 objects").
const NAME_BYTES_MAX: usize = 1024;

/// Described here, but read as it arrives: it may be longer than the memory.
#[derive(ToSchema)]
#[schema(examples(json!({"email": "ada@example.com", "files": [
    {"filename": "report.txt", "content": "aGVsbG8=", "metadata": {"kind": "report"}}
]})))]
#[expect(dead_code, reason = "only its description is used")]
struct UploadRequest {
    #[schema(schema_with = fields::email)]
    email: String,
    /// Each under a name of its own.
    #[schema(min_items = 1, max_items = 20)]
    files: Vec<NewFile>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
struct NewFile {
    #[schema(schema_with = fields::new_file_name)]
    filename: String,
    #[schema(schema_with = fields::file_content)]
    content: String,
    /// At most 2 KiB in all.
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"email": "ada@example.com"})))]
struct LockerRequest {
    #[serde(rename = "email")]
    #[schema(schema_with = fields::email)]
    _email: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"email": "ada@example.com", "filename": "report.txt"})))]
struct FileRequest {
    #[serde(rename = "email")]
    #[schema(schema_with = fields::email)]
    _email: String,
    filename: String,
}

impl FileRequest {
    /// The name as it is stored today, if a file can have it.
    fn filename(self) -> Result<String, ApiError> {
        let name = nfc(&self.filename);
        let can_be = name.len() <= NAME_BYTES_MAX;
        can_be.then(|| name.into_owned()).ok_or(ApiError::File(FileRefusal::NotFound))
    }
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"message": "Files uploaded successfully"})))]
pub(crate) struct Uploaded {
    message: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"message": "File deleted successfully"})))]
pub(crate) struct Deleted {
    message: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"files": [{
    "filename": "report.txt", "size": 5, "uploaded_at": "2026-11-23T04:30:00Z", "metadata": {"kind": "report"}
}]})))]
pub(crate) struct Files {
    /// Says so when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    message: Option<&'static str>,
    files: Vec<File>,
}

#[derive(Serialize, ToSchema)]
struct File {
    filename: String,
    /// In bytes.
    size: u64,
    #[schema(format = DateTime)]
    uploaded_at: String,
    /// As it was uploaded.
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"download_url": "https://files.clinic.example/kokoro-medilocker/ada@example.com/report.txt"})))]
pub(crate) struct Download {
    /// Good for an hour, for a plain GET by whoever has it.
    #[schema(format = "uri")]
    download_url: String,
}

impl From<StoredFile> for File {
    fn from(file: StoredFile) -> Self {
        Self {
            filename: file.name,
            size: file.size,
            uploaded_at: file.uploaded_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            metadata: file.metadata,
        }
    }
}

/// Stores files, all or none.
///
/// At most 20 files of 10 MiB each, and 1,000 in all. A doctor is refused before the body is read.
#[utoipa::path(post, path = "/medilocker/upload", tag = "medilocker", request_body = UploadRequest,
    responses(
        (status = 200, body = Uploaded),
        (status = 409, description = "file_exists, locker_full"),
        (status = 413, description = "file_too_large"),
        (status = 422, description = "name_too_long, metadata_too_large")))]
pub(crate) async fn upload(
    app: Data<AppState>,
    request: HttpRequest,
    request_id: RequestId,
    caller: Caller,
    network: Network,
    payload: Payload,
) -> Result<Json<Uploaded>, ApiError> {
    let user = caller.user()?;
    let received = app.uploads.receive(&request, payload, user, network).await?;
    caller.acts_for(received.raw_email())?;
    let actor = Actor::new(&caller, request_id);
    received.parse()?.store(app.clone(), actor, caller).await?;
    Ok(Json(Uploaded { message: "Files uploaded successfully" }))
}

/// Lists the caller's files.
#[utoipa::path(post, path = "/medilocker/fetch", tag = "medilocker", request_body = LockerRequest,
    responses((status = 200, body = Files)))]
pub(crate) async fn fetch(
    app: Data<AppState>,
    request_id: RequestId,
    caller: Caller,
    network: Network,
    body: JsonBody,
) -> Result<Json<Files>, ApiError> {
    let user = caller.user()?;
    caller.acts_for(body.raw("email"))?;
    let _: LockerRequest = body.parse()?;
    let place = app.locker_lists.take(user.clone(), OF_ONE_USER, network).await?;
    let files = app.locker.list(user.as_str(), app.now()).await?;
    drop(place);
    let listed = Deed::own(AuditAction::FilesListed, &caller);
    app.audit.record(&Actor::new(&caller, request_id), [listed]).await?;
    Ok(Json(Files {
        message: files.is_empty().then_some("No files found"),
        files: files.into_iter().map(File::from).collect(),
    }))
}

/// Gives out a link to one of the caller's files, which anybody who has it may follow for an hour.
#[utoipa::path(post, path = "/medilocker/download", tag = "medilocker", request_body = FileRequest,
    responses((status = 200, body = Download), (status = 404, description = "file_not_found")))]
pub(crate) async fn download(
    app: Data<AppState>,
    request_id: RequestId,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<Download>, ApiError> {
    let user = caller.user()?;
    caller.acts_for(body.raw("email"))?;
    let filename = body.parse::<FileRequest>()?.filename()?;
    let url = app.locker.download_url(user.as_str(), &filename, app.now()).await?;
    let download_url = url.ok_or(ApiError::File(FileRefusal::NotFound))?;
    let given = Deed::own_file(AuditAction::FileDownloaded, &caller, &filename);
    app.audit.record(&Actor::new(&caller, request_id), [given]).await?;
    Ok(Json(Download { download_url }))
}

/// Deletes one of the caller's files.
#[utoipa::path(post, path = "/medilocker/delete", tag = "medilocker", request_body = FileRequest,
    responses((status = 200, body = Deleted), (status = 404, description = "file_not_found")))]
pub(crate) async fn delete(
    app: Data<AppState>,
    request_id: RequestId,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<Deleted>, ApiError> {
    let user = caller.user()?.clone();
    caller.acts_for(body.raw("email"))?;
    let filename = body.parse::<FileRequest>()?.filename()?;
    let actor = Actor::new(&caller, request_id);
    let deed = Deed::own_file(AuditAction::FileDeleted, &caller, &filename);
    Audit::see_through(async move {
        let deleted = Box::pin(async {
            let was_there = app.locker.delete(user.as_str(), &filename, app.now()).await?;
            was_there.then_some(()).ok_or(ApiError::File(FileRefusal::NotFound))
        });
        app.audit.change(&actor, [deed], deleted).await
    })
    .await?;
    Ok(Json(Deleted { message: "File deleted successfully" }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_file_has_a_name_that_would_fill_the_audit_trail() {
        let named = |name: &str| {
            let request = serde_json::from_value(json!({"email": "ada@x.com", "filename": name}));
            FileRequest::filename(request.unwrap())
        };
        let longest = "x".repeat(1024);
        assert_eq!(named(&longest).unwrap(), longest);
        assert!(matches!(named(&format!("{longest}x")), Err(ApiError::File(FileRefusal::NotFound))));
    }
}
