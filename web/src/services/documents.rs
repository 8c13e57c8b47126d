//! Documents that doctors send: what one is, is told by its bytes, never by its name.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use infer::Type;
use persistence::{DocumentKind, FileName};

use crate::error::{ApiError, FileRefusal};

/// The largest document.
const DOCUMENT_BYTES_MAX: usize = 5 * 1024 * 1024;

/// What a photo may be.
const PHOTO: [&str; 3] = ["image/jpeg", "image/png", "image/webp"];
/// What any other document may be besides.
const PAPER: &str = "application/pdf";

/// The standard alphabet, with padding or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A document that may be stored.
pub(crate) struct NewDocument {
    pub(crate) kind: DocumentKind,
    pub(crate) name: FileName,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: Vec<u8>,
}

impl NewDocument {
    /// Takes in what was sent as `field`: base64, also in lines, or a data URL as browsers make it.
    pub(crate) fn read(
        kind: DocumentKind,
        field: &'static str,
        filename: &str,
        content: &str,
    ) -> Result<Self, ApiError> {
        let name = FileName::parse(filename)
            .map_err(|error| ApiError::invalid(format!("'{field}.filename' is not valid: {error}")))?;
        let base64 =
            content.strip_prefix("data:").map_or(Some(content), |url| Some(url.split_once(";base64,")?.1));
        let not_base64 = || ApiError::invalid(format!("'{field}.base64_content' is not base64"));
        let base64 = base64.ok_or_else(not_base64)?.replace(['\r', '\n'], "");
        if base64.len() > DOCUMENT_BYTES_MAX.div_ceil(3) * 4 {
            return Err(ApiError::File(FileRefusal::DocumentTooLarge));
        }
        let bytes = BASE64.decode(base64).map_err(|_| not_base64())?;
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(ApiError::File(FileRefusal::DocumentTooLarge));
        }
        let found = infer::get(&bytes).as_ref().map(Type::mime_type);
        let content_type = found.filter(|found| may_be(kind, found));
        let unsupported = match kind {
            DocumentKind::ProfilePhoto => FileRefusal::NoPhoto,
            DocumentKind::DegreeCertificate | DocumentKind::GovtIdProof => FileRefusal::NoPaper,
        };
        let content_type = content_type.ok_or(ApiError::File(unsupported))?;
        Ok(Self { kind, name, content_type, bytes })
    }
}

fn may_be(kind: DocumentKind, content_type: &str) -> bool {
    match kind {
        DocumentKind::ProfilePhoto => PHOTO.contains(&content_type),
        DocumentKind::DegreeCertificate | DocumentKind::GovtIdProof => {
            PHOTO.contains(&content_type) || content_type == PAPER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const WEBP: &[u8] = b"RIFF\x24\0\0\0WEBPVP8 ";

    fn read(kind: DocumentKind, content: &str) -> Result<&'static str, String> {
        let document = NewDocument::read(kind, "profilePhoto", "me.png", content);
        document.map(|document| document.content_type).map_err(|error| error.to_string())
    }

    #[test]
    fn the_bytes_say_what_a_document_is() {
        let (photo, paper) = (DocumentKind::ProfilePhoto, DocumentKind::GovtIdProof);
        let unsupported = || Err("unsupported_document".to_owned());
        for (bytes, as_photo, as_paper) in [
            (PNG, Ok("image/png"), Ok("image/png")),
            (WEBP, Ok("image/webp"), Ok("image/webp")),
            (b"\xff\xd8\xff\xe0\0\x10JFIF\0", Ok("image/jpeg"), Ok("image/jpeg")),
            (b"%PDF-1.7\n", unsupported(), Ok("application/pdf")),
            (b"GIF89a\x01\0\x01\0", unsupported(), unsupported()),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", unsupported(), unsupported()),
            (b"<!DOCTYPE html><script>", unsupported(), unsupported()),
            (b"MZ\x90\0", unsupported(), unsupported()),
            (b"", unsupported(), unsupported()),
        ] {
            let base64 = BASE64.encode(bytes);
            assert_eq!(read(photo, &base64), as_photo);
            assert_eq!(read(paper, &base64), as_paper);
        }
    }

    #[test]
    fn a_data_url_is_base64_too() {
        let png = BASE64.encode(PNG);
        let photo = DocumentKind::ProfilePhoto;
        // What the URL says of the type counts no more than the name.
        assert_eq!(read(photo, &format!("data:text/html;base64,{png}")), Ok("image/png"));
        assert_eq!(read(photo, png.trim_end_matches('=')), Ok("image/png"), "without padding");
        assert_eq!(read(photo, &format!("{}\r\n{}\n", &png[..4], &png[4..])), Ok("image/png"), "in lines");
        for other in ["data:image/png,%89PNG", "data:", "%%%", "AAAAA", &format!("{png}\0")] {
            assert_eq!(read(photo, other), Err("invalid_value".to_owned()), "{other}");
        }
    }

    #[test]
    fn five_mebibytes_are_the_most() {
        let mut bytes = PNG.to_vec();
        bytes.resize(DOCUMENT_BYTES_MAX, 0);
        let photo = DocumentKind::ProfilePhoto;
        assert_eq!(read(photo, &BASE64.encode(&bytes)), Ok("image/png"));
        bytes.push(0);
        assert_eq!(read(photo, &BASE64.encode(&bytes)), Err("document_too_large".to_owned()));
        bytes.resize(DOCUMENT_BYTES_MAX + 4, 0);
        assert_eq!(read(photo, &BASE64.encode(&bytes)), Err("document_too_large".to_owned()));
    }
}
