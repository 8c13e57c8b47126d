//! What patients see of their files: every name, every byte, nobody else's.

use chrono::TimeDelta;
use futures::{StreamExt, stream};
use persistence::{FilesError, UploadError};

use crate::files::{each_files, fetch, file, file_with, http, names, now, pairs};

const ADA: &str = "ada@x.com";

#[tokio::test]
async fn a_file_comes_back_as_it_was_uploaded_whatever_its_name() {
    each_files(async |files| {
        let locker = files.locker();
        let long = "क".repeat(85);
        let all =
            ["report.pdf", "हृदय रिपोर्ट.pdf", "గుండె.png", "心臓 #1%2F?&+=.jpg", "a\"b';c.txt", "..a", &long];
        for (n, name) in all.iter().filter(|name| !name.starts_with('.')).enumerate() {
            let bytes = format!("bytes of {n}").repeat(n * 20_000).into_bytes();
            let metadata = [("Doctor", "डॉ. राव"), ("note", "  two  spaces "), ("empty", "")];
            locker.upload(ADA, vec![file_with(name, &bytes, &metadata)], now()).await.unwrap();

            let listed = locker.list(ADA, now()).await.unwrap();
            let listed = listed.into_iter().find(|file| file.name == **name).unwrap();
            assert_eq!((listed.size, listed.metadata), (bytes.len() as u64, pairs(&metadata)));
            assert!((now() - listed.uploaded_at).abs() < TimeDelta::minutes(5));

            let url = locker.download_url(ADA, name, now()).await.unwrap().unwrap();
            let (status, disposition, fetched) = fetch(&url).await;
            assert_eq!((status, fetched == bytes), (200, true), "{name}");
            let exact = disposition.split_once("filename*=UTF-8''").unwrap().1;
            let exact = exact.replace('+', "%2B").replace('#', "%23").replace('&', "%26");
            let exact = reqwest::Url::parse(&format!("http://x/?{exact}=")).unwrap();
            assert_eq!(exact.query_pairs().next().unwrap().0, **name, "{disposition}");
            assert!(disposition.starts_with("attachment; filename=\"") && disposition.is_ascii());
        }
    })
    .await;
}

#[tokio::test]
async fn plain_metadata_is_stored_as_the_old_platform_stores_it_and_its_files_are_read() {
    each_files(async |files| {
        let locker = files.locker();
        locker.upload(ADA, vec![file_with("new", b"new", &[("doctor", "Dr. Rao")])], now()).await.unwrap();
        let head = files.s3.client().head_object().bucket(&files.s3.buckets().medilocker);
        let head = head.key("ada@x.com/new").send().await.unwrap();
        assert_eq!(head.metadata().unwrap()["doctor"], "Dr. Rao");

        files.put("ada@x.com/old", b"old", &[("doctor", "Dr. Old")]).await;
        files.put("ada@x.com/bare", b"", &[]).await;
        let listed = locker.list(ADA, now()).await.unwrap();
        let listed: Vec<_> = listed.into_iter().map(|file| (file.name, file.size, file.metadata)).collect();
        let expected = [
            ("bare", 0, pairs(&[])),
            ("new", 3, pairs(&[("doctor", "Dr. Rao")])),
            ("old", 3, pairs(&[("doctor", "Dr. Old")])),
        ];
        assert_eq!(listed, expected.map(|(name, size, metadata)| (name.to_owned(), size, metadata)));
    })
    .await;
}

#[tokio::test]
async fn the_old_platforms_odd_names_are_files_of_their_owner_and_reach_nobody_elses() {
    each_files(async |files| {
        let locker = files.locker();
        let odd = ["", "a/b", "../bob@x.com/secret", "..", "line\u{7f}", "plus+and space%20"];
        for name in odd {
            files.put(&format!("ada@x.com/{name}"), b"odd", &[]).await;
        }
        files.put("bob@x.com/secret", b"bob's", &[]).await;
        files.put("ada@x.com.evil/file", b"evil's", &[]).await;
        let mut sorted = odd.to_vec();
        sorted.sort_unstable();
        assert_eq!(names(&locker, ADA).await, sorted);
        for name in odd {
            assert!(locker.download_url(ADA, name, now()).await.unwrap().is_some(), "{name:?}");
            assert!(locker.delete(ADA, name, now()).await.unwrap(), "{name:?}");
            assert!(!locker.delete(ADA, name, now()).await.unwrap(), "{name:?}");
        }
        assert_eq!(names(&locker, ADA).await, Vec::<String>::new());
        assert_eq!(names(&locker, "bob@x.com").await, ["secret"]);
        assert_eq!(names(&locker, "ada@x.com.evil").await, ["file"]);
    })
    .await;
}

#[tokio::test]
async fn an_older_key_that_is_decomposed_is_found_by_either_spelling() {
    each_files(async |files| {
        let locker = files.locker();
        let composed = "é ê.pdf";
        // The second is decomposed in part.
        for stored in ["e\u{301} e\u{302}.pdf", "é e\u{302}.pdf"] {
            files.put(&format!("ada@x.com/{stored}"), b"old", &[]).await;
            for name in [composed, "e\u{301} e\u{302}.pdf", stored] {
                let url = locker.download_url(ADA, name, now()).await.unwrap().unwrap();
                assert_eq!(fetch(&url).await.2, b"old", "{name:?}");
                let taken = locker.upload(ADA, vec![file(name, b"new")], now()).await;
                assert!(matches!(taken, Err(UploadError::NameTaken)), "{name:?}");
            }
            assert_eq!(names(&locker, ADA).await, [stored], "it is listed as it is stored");
            assert!(locker.delete(ADA, composed, now()).await.unwrap());
            assert!(!locker.delete(ADA, composed, now()).await.unwrap());
        }
        assert_eq!(names(&locker, ADA).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn an_owner_whose_files_would_lie_among_anothers_has_no_locker() {
    each_files(async |files| {
        let locker = files.locker();
        for owner in ["bob@x.com/x", "/", ""] {
            let unfit = Some(FilesError::UnfitOwner);
            assert_eq!(locker.list(owner, now()).await.err(), unfit);
            assert_eq!(locker.download_url(owner, "a", now()).await.err(), unfit);
            assert_eq!(locker.delete(owner, "a", now()).await.err(), unfit);
            let refused = locker.upload(owner, vec![file("a", b"a")], now()).await;
            assert!(matches!(refused, Err(UploadError::Store(FilesError::UnfitOwner))));
        }
        assert!(files.keys().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_url_that_is_old_altered_or_not_signed_gets_nothing() {
    each_files(async |files| {
        let locker = files.locker();
        locker.upload(ADA, vec![file("a", b"ada's"), file("b", b"ada's too")], now()).await.unwrap();
        let url = locker.download_url(ADA, "a", now()).await.unwrap().unwrap();
        assert_eq!(fetch(&url).await.0, 200);
        let an_hour_ago = now() - TimeDelta::seconds(3601);
        let expired = locker.download_url(ADA, "a", an_hour_ago).await.unwrap().unwrap();
        let within = locker.download_url(ADA, "a", now() - TimeDelta::minutes(59)).await.unwrap().unwrap();
        assert_eq!(fetch(&within).await.0, 200);
        let (bare, query) = url.split_once('?').unwrap();
        let another = format!("{}b?{query}", bare.strip_suffix('a').unwrap());
        let longer = url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200");
        let renamed = url.replace("attachment", "inline");
        let last = if url.ends_with('0') { '1' } else { '0' };
        let forged = format!("{}{last}", &url[..url.len() - 1]);
        for wrong in [expired, another, longer, renamed, forged, bare.to_owned()] {
            let (status, _, body) = fetch(&wrong).await;
            assert_eq!(status, 403, "{wrong}");
            assert!(!String::from_utf8_lossy(&body).contains("ada's"));
        }
        let http = http();
        for request in [http.put(&url).body("x"), http.delete(&url)] {
            assert_eq!(request.send().await.unwrap().status(), 403);
        }
        assert_eq!(names(&locker, ADA).await, ["a", "b"]);
    })
    .await;
}

#[tokio::test]
async fn link_opens_the_file_that_it_was_made_for_and_no_other() {
    each_files(async |files| {
        let locker = files.locker();
        let link = async || locker.download_url(ADA, "report.pdf", now()).await.unwrap().unwrap();
        let upload = async |bytes| locker.upload(ADA, vec![file("report.pdf", bytes)], now()).await.unwrap();
        upload(b"old").await;
        let old = link().await;
        assert_eq!(fetch(&old).await.2, b"old");
        assert!(locker.delete(ADA, "report.pdf", now()).await.unwrap());
        let (status, _, body) = fetch(&old).await;
        assert_eq!(status, 404, "{}", String::from_utf8_lossy(&body));

        upload(b"new").await;
        let new = link().await;
        assert_eq!(fetch(&new).await.2, b"new");
        // S3 ignores what binds a link to its file.
        if !files.is_embedded {
            return;
        }
        let (status, disposition, body) = fetch(&old).await;
        let body = String::from_utf8(body).unwrap();
        assert_eq!((status, disposition.as_str()), (412, ""));
        assert!(body.contains("<Code>PreconditionFailed</Code>") && !body.contains("new"), "{body}");
        let http = http();
        for (name, value) in [("range", "bytes=0-0"), ("if-match", "*"), ("if-none-match", "\"x\"")] {
            assert_eq!(http.get(&old).header(name, value).send().await.unwrap().status(), 412, "{name}");
        }
        // What binds it cannot be taken off or changed: it is signed.
        let tag = |url: &str| {
            let (_, rest) = url.split_once("x-kokoro-etag=").unwrap();
            format!("x-kokoro-etag={}", rest.split('&').next().unwrap())
        };
        assert_ne!(tag(&old), tag(&new));
        let changed = old.replace(&tag(&old), &tag(&new));
        let again = format!("{old}&{}", tag(&new));
        for wrong in [old.replace(&format!("&{}", tag(&old)), ""), changed, again] {
            assert_ne!(wrong, old);
            assert_eq!(fetch(&wrong).await.0, 403, "{wrong}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    each_files(async |files| {
        let locker = files.locker();
        assert!(names(&locker, ADA).await.is_empty());
        assert_eq!(locker.download_url(ADA, "a", now()).await.unwrap(), None);
        assert!(!locker.delete(ADA, "a", now()).await.unwrap());
        let endless = "a".repeat(5000);
        assert_eq!(locker.download_url(ADA, &endless, now()).await.unwrap(), None);
        assert!(!locker.delete(ADA, &endless, now()).await.unwrap());
        locker.upload(ADA, vec![file("a", b"a")], now()).await.unwrap();
        assert!(locker.delete(ADA, "a", now()).await.unwrap());
        assert_eq!(locker.download_url(ADA, "a", now()).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn more_metadata_than_s3_keeps_is_refused_before_anything_is_stored() {
    each_files(async |files| {
        let locker = files.locker();
        let large = "x".repeat(2100);
        let call = vec![file("a", b"a"), file_with("b", b"b", &[("note", &large)])];
        assert!(matches!(locker.upload(ADA, call, now()).await, Err(UploadError::MetadataTooLarge)));
        let room = "x".repeat(1990);
        locker.upload(ADA, vec![file_with("b", b"b", &[("note", &room)])], now()).await.unwrap();
        assert_eq!(locker.list(ADA, now()).await.unwrap()[0].metadata, pairs(&[("note", &room)]));
    })
    .await;
}

#[tokio::test]
async fn the_longest_names_are_kept() {
    each_files(async |files| {
        let locker = files.locker();
        let owner = format!("{}@x.com", "o".repeat(248));
        let name = "n".repeat(255);
        locker.upload(&owner, vec![file(&name, b"long")], now()).await.unwrap();
        assert_eq!(names(&locker, &owner).await, [name.as_str()]);
        let url = locker.download_url(&owner, &name, now()).await.unwrap().unwrap();
        assert_eq!(fetch(&url).await.2, b"long");
    })
    .await;
}

#[tokio::test]
async fn a_full_locker_takes_no_more_until_something_is_deleted() {
    each_files(async |files| {
        let locker = files.locker();
        let old: Vec<String> = (0..999).map(|n| format!("ada@x.com/old {n}")).collect();
        stream::iter(&old).for_each_concurrent(16, |key| files.put(key, b"x", &[])).await;
        let two = locker.upload(ADA, vec![file("a", b"a"), file("b", b"b")], now()).await;
        assert!(matches!(two, Err(UploadError::LockerFull)), "{two:?}");
        locker.upload(ADA, vec![file("a", b"a")], now()).await.unwrap();
        let another = locker.upload(ADA, vec![file("b", b"b")], now()).await;
        assert!(matches!(another, Err(UploadError::LockerFull)), "{another:?}");
        // Who has more, from before, still has them.
        files.put("ada@x.com/b", b"b", &[]).await;
        assert_eq!(locker.list(ADA, now()).await.unwrap().len(), 1001);
        assert!(locker.delete(ADA, "a", now()).await.unwrap());
        assert!(locker.delete(ADA, "b", now()).await.unwrap());
        locker.upload(ADA, vec![file("b", b"b")], now()).await.unwrap();
    })
    .await;
}
