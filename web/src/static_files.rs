//! A built single-page frontend, served from the origin of the API: its files, and its `index.html` for every path that
//! the page itself makes sense of.

use std::io;
use std::path::{Path, PathBuf};

use actix_files::{NamedFile, PathBufWrap};
use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue};
use actix_web::web::{Data, block};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use crate::error::ApiError;
use crate::routes::API_FOLDERS;

const INDEX: &str = "index.html";
/// Where bundlers put files whose names change with what is in them.
const HASHED_FOLDERS: [&str; 2] = ["assets", "static"];
/// How long a part of a name must be to be a hash.
const HASH_LENGTH: usize = 8;

/// What a page may do. Scripts are its own, which is what matters; pictures and files come from S3 as well, wherever that
/// is. Styles are set inline by most component libraries.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline' https:; font-src 'self' data: https:; \
                      img-src * data: blob:; media-src * blob:; connect-src *; worker-src 'self' blob:; \
                      object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; script-src 'self'";

/// The folder of a built frontend.
#[derive(Debug)]
pub(crate) struct StaticFiles {
    /// Without links on the way.
    root: PathBuf,
}

/// A folder that holds no frontend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StaticFilesError {
    /// It is not there, or not for us.
    #[error("the folder {0} cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It has no page.
    #[error("the folder {0} has no {INDEX}")]
    NoIndex(PathBuf),
}

/// A file, and what browsers are told about it.
struct Found {
    file: NamedFile,
    policy: HeaderValue,
    cache: &'static str,
}

impl StaticFiles {
    /// The frontend in a folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, StaticFilesError> {
        let unreadable = |error| StaticFilesError::Unreadable(folder.to_owned(), error);
        let files = Self { root: folder.canonicalize().map_err(unreadable)? };
        let index = files.file(Path::new(INDEX));
        index.map(|_| files).ok_or_else(|| StaticFilesError::NoIndex(folder.to_owned()))
    }

    /// The file under this path, or the page where the path is the page's own business.
    fn find(&self, path: &Path, is_page: bool) -> Option<Found> {
        let is_index = path.as_os_str().is_empty() || path == Path::new(INDEX);
        if !is_index && let Some(file) = self.file(path) {
            let cache = if is_hashed(path) { "public, max-age=31536000, immutable" } else { "no-cache" };
            return Some(Found { file, policy: HeaderValue::from_static(POLICY), cache });
        }
        if !is_index && !is_page {
            return None;
        }
        let file = self.file(Path::new(INDEX))?;
        // Read each time: a new build comes with other scripts.
        let html = std::fs::read_to_string(file.path()).ok()?;
        let policy = HeaderValue::from_str(&format!("{POLICY}{}", hashes_of_scripts(&html))).ok()?;
        Some(Found { file, policy, cache: "no-cache" })
    }

    fn file(&self, path: &Path) -> Option<NamedFile> {
        let wanted = self.root.join(path);
        // A link could lead out of the folder.
        let is_itself = wanted.canonicalize().is_ok_and(|real| real == wanted);
        if is_itself && wanted.is_file() { NamedFile::open(wanted).ok() } else { None }
    }
}

/// Answers whatever no route answers.
pub(crate) async fn serve(files: Data<StaticFiles>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let path = PathBufWrap::parse_req_path(&request, false);
    let (true, Ok(path)) = (is_read, path) else { return Err(ApiError::PathNotFound) };
    let path = path.as_ref().to_owned();
    let is_api = path.iter().next().is_some_and(|first| API_FOLDERS.iter().any(|folder| first == *folder));
    if is_api {
        return Err(ApiError::PathNotFound);
    }
    let is_page = accepts_pages(&request, &path);
    let found = block(move || files.find(&path, is_page)).await.map_err(ApiError::internal)?;
    let Found { file, policy, cache } = found.ok_or(ApiError::PathNotFound)?;
    let mut response = file.disable_content_disposition().into_response(&request);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}

/// Whether a page would do for an answer. Of clients that take anything, those that ask for what looks like a file want
/// that file.
fn accepts_pages(request: &HttpRequest, path: &Path) -> bool {
    let accepted = request.headers().get(ACCEPT).map_or(Some("*/*"), |value| value.to_str().ok());
    let accepted = accepted.unwrap_or_default();
    accepted.contains("text/html") || (accepted.contains("*/*") && path.extension().is_none())
}

/// Whether the name changes with what is in the file, such as `assets/index-BH3k2_9x.js`.
fn is_hashed(path: &Path) -> bool {
    let in_folder =
        path.iter().next().is_some_and(|first| HASHED_FOLDERS.iter().any(|folder| first == *folder));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_hash = |part: &str| {
        part.len() >= HASH_LENGTH
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && part.bytes().any(|byte| byte.is_ascii_digit())
    };
    in_folder && name.split(['.', '-']).skip(1).any(is_hash)
}

/// The sources that allow the scripts written into a page itself: bundlers put a small one there (CSP level 3, 2.3.1).
fn hashes_of_scripts(html: &str) -> String {
    // Of the same length, so that places in one are places in the other.
    let lower = html.to_ascii_lowercase();
    let mut sources = String::new();
    let mut at = 0;
    while let Some(begin) = lower[at..].find("<script").map(|found| at + found) {
        let Some(open) = lower[begin..].find('>').map(|found| begin + found + 1) else { break };
        let Some(end) = lower[open..].find("</script").map(|found| open + found) else { break };
        // As a browser's parser hands it on.
        let script = html[open..end].replace("\r\n", "\n");
        if !script.is_empty() {
            let hash = STANDARD.encode(digest(&SHA256, script.as_bytes()));
            sources.push_str(&format!(" 'sha256-{hash}'"));
        }
        at = end;
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_whose_name_changes_with_its_content_is_kept_for_good() {
        for path in [
            "assets/index-BH3k2_9x.js",
            "static/js/main.8f3c2a1b.js",
            "static/media/logo.6ce24c58023cc2f8fd88.svg",
        ] {
            assert!(is_hashed(Path::new(path)), "{path}");
        }
        for path in [
            "index.html",
            "favicon.ico",
            "assets/logo.svg",
            "main.8f3c2a1b.js",
            "assets/20261123.js",
            "assets/a-b.js",
        ] {
            assert!(!is_hashed(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn scripts_within_a_page_are_allowed_by_their_hash() {
        let html = "<head><SCRIPT type=\"module\" src=\"/a.js\"></SCRIPT><script>alert(1)</script></head>";
        // printf 'alert(1)' | openssl dgst -sha256 -binary | base64
        assert_eq!(hashes_of_scripts(html), " 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='");
        assert_eq!(hashes_of_scripts("<script"), "");
        assert_eq!(hashes_of_scripts("<script>"), "");
    }
}
