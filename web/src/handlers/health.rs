//! Whether the process lives, and whether it can book.

use actix_web::web::{Data, Json};
use engine::Standing;
use serde::Serialize;

use crate::error::ApiError;
use crate::state::AppState;

#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
}

/// The process lives.
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// The process can book, or says why not.
pub(crate) async fn readyz(app: Data<AppState>) -> Result<Json<Health>, ApiError> {
    let standing = *app.standing.borrow();
    match standing {
        Standing::Serving if !app.is_stopping() => Ok(Json(Health { status: "ready" })),
        Standing::Serving | Standing::StoreSilent | Standing::Deposed | Standing::Stopping => {
            Err(ApiError::NotReady(standing))
        }
    }
}
