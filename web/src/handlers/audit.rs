//! The audit trail, as its owner sees it.

use actix_web::web::{Data, Json};
use persistence::{AuditCursor, AuditPage, AuditRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::json::JsonBody;
use crate::state::AppState;

/// Entries in an answer when nothing else is asked for.
const LIMIT_DEFAULT: usize = 50;
/// Entries in an answer at most.
const LIMIT_MAX: usize = 200;

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"limit": 50})))]
struct TrailRequest {
    /// How many entries at most; 50 if left out.
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 200)]
    limit: Option<serde_json::Number>,
    /// The `next_cursor` of an earlier answer: shows what is older.
    #[schema(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z#[0-9a-f]{32}$")]
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"entries": [{
    "at": "2026-11-23T04:30:00.000Z", "actor": "asha@clinic.example", "actor_type": "doctor",
    "action": "booking_cancelled", "outcome": "done", "request_id": "6f1ed002ab5595859014ebf0951522d9",
    "subject": {"doctor_id": "asha@clinic.example", "date": "2026-11-24", "start": "10:00"}
}]})))]
pub(crate) struct Trail {
    entries: Vec<Entry>,
    /// There are older entries; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Entry {
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    at: String,
    /// Who did it.
    actor: String,
    /// `user` or `doctor`.
    actor_type: String,
    /// What was done; `bookings_read` stands for an hour of looking.
    action: String,
    /// `done`, or `unknown` where whoever asked was not told either.
    outcome: String,
    subject: Subject,
    request_id: String,
}

/// Which record; nothing where it is all of a kind.
#[derive(Default, Serialize, ToSchema)]
struct Subject {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    doctor_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    start: Option<String>,
}

impl TrailRequest {
    fn limit(&self) -> Result<usize, ApiError> {
        let Some(limit) = &self.limit else { return Ok(LIMIT_DEFAULT) };
        let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
        limit
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| ApiError::invalid("'limit' must be a whole number from 1 to 200"))
    }

    fn before(&self) -> Result<Option<AuditCursor>, ApiError> {
        let parse = |cursor: &String| AuditCursor::parse(cursor);
        let cursor = self.cursor.as_ref().map(parse).transpose();
        cursor.map_err(|_| ApiError::invalid("'cursor' must be the next_cursor of an earlier answer"))
    }
}

/// Shows the caller who has read, changed or deleted its records, newest first.
#[utoipa::path(post, path = "/audit/mine", tag = "audit", request_body = TrailRequest,
    responses((status = 200, body = Trail)))]
pub(crate) async fn mine(
    app: Data<AppState>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<Trail>, ApiError> {
    let request: TrailRequest = body.parse()?;
    let (limit, before) = (request.limit()?, request.before()?);
    let AuditPage { rows, next } = app.audit.about(&caller, before.as_ref(), limit).await?;
    let next_cursor = next.map(|next| next.as_str().to_owned());
    Ok(Json(Trail { entries: rows.into_iter().map(Entry::from).collect(), next_cursor }))
}

impl From<AuditRow> for Entry {
    fn from(row: AuditRow) -> Self {
        let AuditRow { at, actor, actor_type, action, outcome, filename, doctor_id, date, start, request_id } =
            row;
        let subject = Subject { filename, doctor_id, date, start };
        Self { at, actor, actor_type, action, outcome, subject, request_id }
    }
}
