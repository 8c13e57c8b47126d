//! A built single-page frontend, served from the origin of the API: its files, and its `index.html` for every path that
//! the frontend routes by itself.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use actix_files::NamedFile;
use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue};
use actix_web::web::{Data, block};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use ring::digest::{SHA256, digest};

use crate::error::ApiError;
use crate::routes::API_FOLDERS;

const INDEX: &str = "index.html";
/// The only folder whose files have addresses that begin with a dot (RFC 8615).
const WELL_KNOWN: &str = ".well-known";
/// Holds nothing but files: a missing one is an error even where a browser navigates to it.
const ASSETS: &str = "assets";
/// Where bundlers put files whose names change with their content.
const HASHED_FOLDERS: [&str; 2] = [ASSETS, "static"];
/// How long a part of a name must be to be a hash.
const HASH_LENGTH: usize = 8;

/// The header in which a browser says what a response is for; absent where the origin is not trustworthy
/// (Fetch Metadata, 2.2).
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What a page may do. Its scripts are its own, which is what protects a session. Images and files also come from S3,
/// wherever that is. A page reads what it made itself by `blob:` and `data:`, which a wildcard does not cover (CSP level 3,
/// "Does url match expression in origin"). Component libraries set styles inline.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline' https:; \
                      font-src 'self' data: blob: https:; img-src * data: blob:; media-src * data: blob:; \
                      connect-src * data: blob:; worker-src 'self' blob:; frame-src 'self' blob:; object-src 'none'; \
                      base-uri 'self'; form-action 'self'; frame-ancestors 'none'; script-src 'self'";

/// The folder of a built frontend.
#[derive(Debug)]
pub(crate) struct StaticFiles {
    /// May be a link that is moved to another release while the program runs.
    folder: PathBuf,
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
        // An absolute path: it is resolved again for each request.
        let files = Self { folder: std::path::absolute(folder).map_err(unreadable)? };
        std::fs::read_dir(&files.folder).map_err(unreadable)?;
        files.index().map(|_| files).ok_or_else(|| StaticFilesError::NoIndex(folder.to_owned()))
    }

    /// The file under this path, or the page if `is_page` and there is no such file.
    fn find(&self, path: Option<&Path>, is_page: bool) -> Option<Found> {
        match path {
            Some(path) if path == Path::new(INDEX) => return self.index(),
            Some(path) => {
                if let Some(file) = self.file(path) {
                    let cache =
                        if is_hashed(path) { "public, max-age=31536000, immutable" } else { "no-cache" };
                    return Some(Found { file, policy: HeaderValue::from_static(POLICY), cache });
                }
            }
            None => {}
        }
        if is_page { self.index() } else { None }
    }

    /// The page. It is read each time, because a new release has other scripts.
    fn index(&self) -> Option<Found> {
        let file = self.file(Path::new(INDEX))?;
        let mut html = String::new();
        file.file().read_to_string(&mut html).ok()?;
        let policy = HeaderValue::from_str(&format!("{POLICY}{}", hashes_of_scripts(&html))).ok()?;
        Some(Found { file, policy, cache: "no-cache" })
    }

    fn file(&self, path: &Path) -> Option<NamedFile> {
        let root = self.folder.canonicalize().ok()?;
        let real = root.join(path).canonicalize().ok()?;
        // A link may lead to anything in the folder and to nothing outside.
        if !real.starts_with(&root) || !real.is_file() {
            return None;
        }
        // The type follows from the name that was asked for, not from the link's target.
        NamedFile::from_file(File::open(real).ok()?, path).ok()
    }
}

/// Answers every request that no route answers.
pub(crate) async fn serve(files: Data<StaticFiles>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    if !is_read {
        return Err(ApiError::PathNotFound);
    }
    let path = file_path(request.uri().path());
    let is_page = accepts_page(&request);
    let found = block(move || files.find(path.as_deref(), is_page)).await.map_err(ApiError::internal)?;
    let Found { file, policy, cache } = found.ok_or(ApiError::PathNotFound)?;
    let mut response = file.disable_content_disposition().into_response(&request);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}

/// Whether a browser asks for a page to show, rather than for data or a part of a page.
pub(crate) fn is_navigation(request: &HttpRequest) -> bool {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    is_read
        && match request.headers().get(&SEC_FETCH_MODE) {
            Some(mode) => mode == "navigate",
            None => accepted(request).contains("text/html"),
        }
}

/// Whether `index.html` is an answer to a request for which there is no file. Clients that are no browsers get it as
/// well, unless they want an API call or something that looks like a file.
fn accepts_page(request: &HttpRequest) -> bool {
    let path = request.uri().path();
    let folder = path.split('/').nth(1).unwrap_or_default();
    if folder == ASSETS {
        return false;
    }
    let takes_anything =
        !request.headers().contains_key(&SEC_FETCH_MODE) && accepted(request).contains("*/*");
    let looks_like_a_page = !API_FOLDERS.contains(&folder) && Path::new(path).extension().is_none();
    is_navigation(request) || (takes_anything && looks_like_a_page)
}

fn accepted(request: &HttpRequest) -> &str {
    let accept = request.headers().get(ACCEPT);
    accept.map_or(Some("*/*"), |value| value.to_str().ok()).unwrap_or_default()
}

/// The path of a file below the folder; `None` if no file has that path, because a part of it cannot be a file's name or
/// is hidden. A part is decoded by itself, so that `%2F` never becomes a separator.
fn file_path(path: &str) -> Option<PathBuf> {
    let mut file = PathBuf::new();
    for (n, part) in path.strip_prefix('/')?.split('/').enumerate() {
        let name = percent_decode_str(part).collect::<Vec<u8>>();
        let is_hidden = name.starts_with(b".") && !(n == 0 && name == WELL_KNOWN.as_bytes());
        if name.is_empty() || is_hidden || name.contains(&b'/') || name.contains(&0) {
            return None;
        }
        file.push(OsStr::from_bytes(&name));
    }
    Some(file)
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

    #[test]
    fn a_path_names_a_file_only_by_plain_names() {
        for (path, file) in [
            ("/a", "a"),
            ("/a%20b/c.d", "a b/c.d"),
            ("/.well-known/a", ".well-known/a"),
            ("/a/b:", "a/b:"),
            ("/*a", "*a"),
            ("/a..b", "a..b"),
            ("/a%5Cb", "a\\b"),
        ] {
            assert_eq!(file_path(path).as_deref(), Some(Path::new(file)), "{path}");
        }
        for path in [
            "/",
            "",
            "a",
            "//a",
            "/a/",
            "/a//b",
            "/.",
            "/..",
            "/%2e%2e/a",
            "/.git/a",
            "/a/.b",
            "/a%2Fb",
            "/a%00",
            "/a/.well-known/b",
            "/.well-known/.b",
            "/.well-known/",
            "/.Well-Known/a",
        ] {
            assert_eq!(file_path(path), None, "{path}");
        }
    }
}
