//! URLs that let a browser fetch one object without knowing any key.
//!
//! **Bound to the object.** A URL names a key, and its owner may later store another file under that key. So a URL carries the
//! entity tag of the object that it was signed for, as the query parameter [`TAG_PARAMETER`], which the signature covers. The
//! embedded S3 refuses it (412) when the object is another one. S3 itself ignores parameters that begin with `x-` (user
//! guide, "Querying access logs"): on AWS a URL opens what is stored under its key, until it expires.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::presigning::PresigningConfig;
use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::{FilesError, files_error};

/// The query parameter with the entity tag of the object, without quotes.
pub(crate) const TAG_PARAMETER: &str = "x-kokoro-etag";
/// How long a URL is good for.
const VALID_FOR: Duration = Duration::from_secs(3600);
/// What RFC 8187 wants encoded: all but `attr-char`.
const EXTENDED_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Signs a download, good for an hour from `now`, of the object with this entity tag, or of whatever is stored then. Sends
/// nothing.
pub(super) async fn sign(
    download: GetObjectFluentBuilder,
    e_tag: Option<&str>,
    now: DateTime<Utc>,
) -> Result<String, FilesError> {
    let config = PresigningConfig::builder().start_time(SystemTime::from(now)).expires_in(VALID_FOR).build();
    let config = config.map_err(|error| FilesError::Refused(error.to_string()))?;
    let tag = e_tag.map(|tag| utf8_percent_encode(tag.trim_matches('"'), NON_ALPHANUMERIC).to_string());
    let bound = download.customize().mutate_request(move |request| {
        let Some(tag) = &tag else { return };
        let mark = if request.uri().contains('?') { '&' } else { '?' };
        let uri = format!("{}{mark}{TAG_PARAMETER}={tag}", request.uri());
        // It was a URL, and what is added is encoded.
        let _ = request.set_uri(uri);
    });
    let signed = Box::pin(bound.presigned(config)).await.map_err(files_error)?;
    Ok(signed.uri().to_owned())
}

/// The header that makes a browser save a file under `name`: spelled for all in RFC 8187's way, and roughly for old
/// programs that know ASCII only.
pub(super) fn attachment(name: &str) -> String {
    let plain =
        |char: char| char == ' ' || (char.is_ascii_graphic() && !matches!(char, '"' | '\\' | '%' | '/'));
    let rough: String = name.chars().map(|char| if plain(char) { char } else { '_' }).collect();
    let exact = utf8_percent_encode(name, EXTENDED_VALUE);
    format!("attachment; filename=\"{rough}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_twice_and_can_break_out_of_neither() {
        assert_eq!(
            attachment("रिपोर्ट \"1\"\r\nX: y;.pdf"),
            "attachment; filename=\"_______ _1___X: y;.pdf\"; \
             filename*=UTF-8''%E0%A4%B0%E0%A4%BF%E0%A4%AA%E0%A5%8B%E0%A4%B0%E0%A5%8D%E0%A4%9F%20%221%22%0D%0AX%3A%20y%3B.pdf"
        );
    }
}
