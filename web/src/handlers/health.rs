//! Whether the process lives, and whether it can book.

use actix_web::web::{Data, Json};
use engine::Standing;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::state::AppState;

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"status": "ready"})))]
pub(crate) struct Health {
    status: &'static str,
}

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "service", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// The process can book, or says why not.
#[utoipa::path(get, path = "/readyz", tag = "service", security(()), responses(
    (status = 200, body = Health), (status = 503, description = "store_unreachable, deposed, shutting_down")))]
pub(crate) async fn readyz(app: Data<AppState>) -> Result<Json<Health>, ApiError> {
    let standing = *app.standing.borrow();
    match standing {
        Standing::Serving if !app.is_stopping() => Ok(Json(Health { status: "ready" })),
        Standing::Serving | Standing::StoreSilent | Standing::Deposed | Standing::Stopping => {
            Err(ApiError::NotReady(standing))
        }
    }
}
