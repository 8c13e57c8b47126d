//! The description of this API: for programs, and as a page to try it on. The page's parts are linked into the program,
//! so it needs no other host.

use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION};
use actix_web::web::{Bytes, Path};
use utoipa::OpenApi;
use utoipa_swagger_ui::Config;

use crate::error::ApiError;
use crate::openapi::Document;

/// What the page may do: run its own scripts, and call this server. It sets styles on elements and draws inline images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service", security(()),
    responses((status = 200, description = "An OpenAPI 3.1 document", body = serde_json::Value)))]
pub(crate) async fn document() -> Result<HttpResponse, ApiError> {
    static TEXT: LazyLock<Result<Bytes, String>> =
        LazyLock::new(|| Document::openapi().to_json().map(Bytes::from).map_err(|error| error.to_string()));
    let text = TEXT.as_ref().map_err(|error| ApiError::internal(error.clone()))?;
    Ok(HttpResponse::Ok().content_type("application/json").body(text.clone()))
}

/// The way to the interactive page.
#[utoipa::path(get, path = "/docs", tag = "service", security(()),
    responses((status = 308, description = "The page is at `/docs/`")))]
pub(crate) async fn entrance() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "docs/")).finish()
}

/// The interactive page, and the files that it consists of.
#[utoipa::path(get, path = "/docs/{file}", tag = "service", security(()),
    params(("file" = String, Path, description = "Nothing, or a file's name", example = "index.html")),
    responses((status = 200, description = "The file", content_type = "*/*"), (status = 404, description = "not_found")))]
pub(crate) async fn page(file: Path<String>) -> Result<HttpResponse, ApiError> {
    static CONFIG: LazyLock<Arc<Config<'static>>> =
        LazyLock::new(|| Arc::new(Config::from("../openapi.json")));
    let found = utoipa_swagger_ui::serve(&file, CONFIG.clone());
    let found = found.map_err(|error| ApiError::internal(error.to_string()))?;
    let file = found.ok_or(ApiError::PathNotFound)?;
    Ok(HttpResponse::Ok()
        .content_type(file.content_type)
        .insert_header((CACHE_CONTROL, "public, max-age=3600"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(file.bytes.into_owned()))
}
