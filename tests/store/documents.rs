//! Doctors' documents: found under the URL that a row keeps, by this program and the old one.

use aws_sdk_s3::primitives::ByteStream;
use chrono::TimeDelta;
use persistence::{DocumentError, DocumentKind, FilesError};

use crate::files::{each_files, fetch, now};

const DR: &str = "dr.rao@x.com";

#[tokio::test]
async fn a_photo_is_found_under_the_url_that_the_row_keeps() {
    each_files(async |files| {
        let documents = files.s3.documents();
        for name in ["me.png", "मैं 100%.png", "a/b.png", "..", "a?b#c.png"] {
            let stored =
                documents.put(DR, DocumentKind::ProfilePhoto, name, "image/png", name.into()).await.unwrap();
            let bucket = &files.s3.buckets().documents;
            let key = stored.strip_prefix(&format!("https://{bucket}.s3.amazonaws.com/")).unwrap();
            // What the old backend would ask for.
            let object = files.s3.client().get_object().bucket(bucket).key(key).send().await.unwrap();
            assert_eq!(object.content_type(), Some("image/png"));
            assert_eq!(object.body.collect().await.unwrap().into_bytes(), name.as_bytes());

            let url = documents.photo_url(&stored, now()).await.unwrap();
            let (status, _, bytes) = fetch(&url).await;
            assert_eq!((status, bytes), (200, name.as_bytes().to_vec()), "{name}");
            let old = documents.photo_url(&stored, now() - TimeDelta::hours(2)).await.unwrap();
            assert_eq!(fetch(&old).await.0, 403);
        }
    })
    .await;
}

#[tokio::test]
async fn a_document_takes_the_place_of_an_earlier_one_of_its_name() {
    each_files(async |files| {
        let documents = files.s3.documents();
        let put = async |bytes: &str| {
            documents.put(DR, DocumentKind::ProfilePhoto, "me.png", "image/png", bytes.into()).await.unwrap()
        };
        let first = put("first").await;
        assert_eq!(put("second").await, first);
        assert_eq!(fetch(&documents.photo_url(&first, now()).await.unwrap()).await.2, b"second");
    })
    .await;
}

#[tokio::test]
async fn a_document_is_deleted_by_the_url_that_its_own_row_kept() {
    each_files(async |files| {
        let documents = files.s3.documents();
        let kind = DocumentKind::ProfilePhoto;
        let stored = documents.put(DR, kind, "मैं 100%.png", "image/png", b"me".to_vec()).await.unwrap();
        let url = documents.photo_url(&stored, now()).await.unwrap();
        let elsewhere = stored.replacen("https://", "https://x.", 1);
        let folder = stored.rsplit_once('/').unwrap().0;
        for (doctor, kind, stored) in [
            ("dr@x.com", kind, &*stored),
            (DR, DocumentKind::GovtIdProof, &stored),
            (DR, kind, &elsewhere),
            (DR, kind, &format!("{folder}/")),
            (DR, kind, ""),
        ] {
            documents.delete(doctor, kind, stored).await.unwrap();
            assert_eq!(fetch(&url).await.0, 200, "{doctor} {stored}");
        }
        documents.delete(DR, kind, &stored).await.unwrap();
        assert_eq!(fetch(&url).await.0, 404);
        documents.delete(DR, kind, &stored).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_old_platforms_photos_are_found() {
    each_files(async |files| {
        let bucket = &files.s3.buckets().documents;
        let key = "doctors/dr.rao@x.com/profilePhoto/my%20face.jpg";
        let request = files.s3.client().put_object().bucket(bucket).key(key);
        request.body(ByteStream::from_static(b"face")).send().await.unwrap();
        let stored = format!("https://{bucket}.s3.amazonaws.com/{key}");
        let url = files.s3.documents().photo_url(&stored, now()).await.unwrap();
        assert_eq!(fetch(&url).await.2, b"face");
    })
    .await;
}

#[tokio::test]
async fn nothing_but_a_profile_photo_of_ours_is_signed() {
    each_files(async |files| {
        let documents = files.s3.documents();
        for kind in [DocumentKind::DegreeCertificate, DocumentKind::GovtIdProof] {
            let stored =
                documents.put(DR, kind, "a.pdf", "application/pdf", b"private".to_vec()).await.unwrap();
            assert_eq!(documents.photo_url(&stored, now()).await, None);
        }
        let ours = format!("https://{}.s3.amazonaws.com/", files.s3.buckets().documents);
        for stored in [
            "",
            "https://example.com/doctors/dr@x.com/profilePhoto/a.png",
            &format!("{ours}doctors/dr@x.com/govtIdProof/profilePhoto/a.png"),
            &format!("{ours}doctors/dr@x.com/profilePhoto/"),
            &format!("{ours}doctors//profilePhoto/a.png"),
            &format!("{ours}profilePhoto/a.png"),
            &ours,
        ] {
            assert_eq!(documents.photo_url(stored, now()).await, None, "{stored}");
        }
        let endless = "क".repeat(255);
        let put = documents.put(DR, DocumentKind::ProfilePhoto, &endless, "image/png", Vec::new()).await;
        assert_eq!(put, Err(DocumentError::NameTooLong));
        let put = documents.put("dr@x.com/x", DocumentKind::ProfilePhoto, "a", "image/png", Vec::new()).await;
        assert_eq!(put, Err(DocumentError::Store(FilesError::UnfitOwner)));
    })
    .await;
}
