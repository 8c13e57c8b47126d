//! What the process has counted and measured, for Prometheus.

use actix_web::HttpResponse;
use actix_web::web::Data;
use engine::Standing;

use crate::metrics;
use crate::state::AppState;

/// Prometheus' text format, as its exposition format documentation names it.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "service", security(()), responses(
    (status = 200, description = "Metrics in the text format 0.0.4", content_type = "text/plain", body = String,
        example = "# TYPE kokoro_ready gauge\nkokoro_ready 1\n")))]
pub(crate) async fn all(app: Data<AppState>) -> HttpResponse {
    let standing = *app.standing.borrow();
    metrics::is_ready(standing == Standing::Serving && !app.is_stopping());
    HttpResponse::Ok().content_type(TEXT_FORMAT).body(app.collector.render())
}
