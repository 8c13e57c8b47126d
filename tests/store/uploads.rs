//! All of an upload or nothing: in races, when it fails, and when it ends in the middle.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use chrono::TimeDelta;
use futures::future::{join, join_all, poll_fn};
use persistence::{EmbeddedDynamo, EmbeddedS3, FilesError, NewFile, UploadError, Where};

use crate::files::{Files, each_files, fetch, file, names, now};
use crate::harness;
use crate::proxy::LossyProxy;

const ADA: &str = "ada@x.com";

/// Files of these names.
fn all(names: &[&str]) -> Vec<NewFile> {
    names.iter().map(|name| file(name, name.as_bytes())).collect()
}

/// Runs a future until it has been asked `steps` times; what it answered, if it got that far.
async fn for_steps<T>(steps: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = steps;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn of_two_uploads_with_one_name_exactly_one_wins() {
    each_files(async |files| {
        let locker = files.locker();
        for round in 0..20 {
            let owner = format!("ada{round}@x.com");
            let one = locker.upload(&owner, all(&["a", "m", "one"]), now());
            let other = locker.upload(&owner, all(&["b", "m", "other"]), now());
            let (one, other) = join(one, other).await;
            let (won, lost, expected) = match (&one, &other) {
                (Ok(()), Err(lost)) => ("one", lost, ["a", "m", "one"]),
                (Err(lost), Ok(())) => ("other", lost, ["b", "m", "other"]),
                _ => panic!("{one:?} {other:?}"),
            };
            assert!(matches!(lost, UploadError::NameTaken), "{lost:?}, {won} won");
            assert_eq!(names(&locker, &owner).await, expected);
        }
        // Nothing of the losers is left, not even out of sight.
        assert_eq!(files.keys().await.len(), 20 * 3);
    })
    .await;
}

#[tokio::test]
async fn many_uploads_of_one_owner_go_on_beside_each_other() {
    each_files(async |files| {
        let locker = files.locker();
        let uploads = (0..4).map(|n| {
            let (locker, name) = (locker.clone(), n.to_string());
            async move { locker.upload(ADA, vec![file(&name, b"x")], now()).await }
        });
        for done in join_all(uploads).await {
            done.unwrap();
        }
        assert_eq!(names(&locker, ADA).await, ["0", "1", "2", "3"]);
    })
    .await;
}

#[tokio::test]
async fn twenty_files_are_stored_or_none_of_them() {
    each_files(async |files| {
        let locker = files.locker();
        locker.upload(ADA, all(&["file 13"]), now()).await.unwrap();
        let twenty: Vec<String> = (0..20).map(|n| format!("file {n:02}")).collect();
        let twenty: Vec<&str> = twenty.iter().map(String::as_str).collect();
        let refused = locker.upload(ADA, all(&twenty), now()).await;
        assert!(matches!(refused, Err(UploadError::NameTaken)), "{refused:?}");
        assert_eq!(names(&locker, ADA).await, ["file 13"]);
        assert_eq!(files.keys().await, ["ada@x.com/file 13"]);

        assert!(locker.delete(ADA, "file 13", now()).await.unwrap());
        locker.upload(ADA, all(&twenty), now()).await.unwrap();
        assert_eq!(names(&locker, ADA).await, twenty);
    })
    .await;
}

#[tokio::test]
async fn a_name_that_comes_twice_in_a_call_is_taken() {
    each_files(async |files| {
        let locker = files.locker();
        let refused = locker.upload(ADA, all(&["a", "b", "a"]), now()).await;
        assert!(matches!(refused, Err(UploadError::NameTaken)));
        assert!(files.keys().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_reader_sees_all_of_an_upload_or_nothing() {
    each_files(async |files| {
        let locker = files.locker();
        let round = AtomicUsize::new(0);
        let owner = |round: usize| format!("ada{round}@x.com");
        let writing = async {
            while round.load(Ordering::SeqCst) < 10 {
                let owner = owner(round.load(Ordering::SeqCst));
                locker.upload(&owner, all(&["a", "b", "c", "d"]), now()).await.unwrap();
                assert_eq!(names(&locker, &owner).await, ["a", "b", "c", "d"]);
                round.fetch_add(1, Ordering::SeqCst);
            }
        };
        let reading = async {
            while round.load(Ordering::SeqCst) < 10 {
                let owner = owner(round.load(Ordering::SeqCst));
                let one = locker.download_url(&owner, "a", now()).await.unwrap();
                let seen = names(&locker, &owner).await;
                assert!(seen.is_empty() || seen == ["a", "b", "c", "d"], "{seen:?}");
                assert!(one.is_none() || !seen.is_empty());
            }
        };
        join(writing, reading).await;
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_ends_at_any_moment_leaves_all_or_nothing_and_its_names_free() {
    each_files(async |files| {
        let mut halves = 0;
        for step in 0.. {
            let owner = format!("ada{step}@x.com");
            // Dropped as by a crash: nothing is done on its way out.
            let done = for_steps(step, files.locker().upload(&owner, all(&["a", "b", "c"]), now())).await;
            let left = files.keys().await;
            let left = left.iter().filter(|key| key.starts_with(&owner)).count();
            // A process that has just started knows nothing of it.
            let locker = files.locker();
            let seen = names(&locker, &owner).await;
            let later = names(&locker, &owner).await;
            match done {
                Some(done) => {
                    done.unwrap();
                    assert_eq!(seen, ["a", "b", "c"]);
                    break;
                }
                // The last request may have been on its way.
                None if seen == ["a", "b", "c"] => {}
                None => {
                    halves += usize::from(left > 0);
                    assert_eq!((seen, later), (Vec::new(), Vec::<String>::new()), "cut at step {step}");
                    assert_eq!(locker.download_url(&owner, "a", now()).await.unwrap(), None);
                    assert!(!locker.delete(&owner, "a", now()).await.unwrap());
                    locker.upload(&owner, all(&["a", "b", "c", "d"]), now()).await.unwrap();
                    assert_eq!(names(&locker, &owner).await, ["a", "b", "c", "d"]);
                }
            }
        }
        assert!(halves > 1, "the upload left something {halves} times only");
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_another_process_took_for_dead_shows_nothing_and_says_so() {
    each_files(async |files| {
        let mut given_up = 0;
        for step in 0.. {
            let owner = format!("ada{step}@x.com");
            let deposed = files.locker();
            let upload = deposed.upload(&owner, all(&["a", "b", "c"]), now());
            let mut upload = pin!(upload);
            let begun = for_steps(step, upload.as_mut()).await;
            let is_done = begun.is_some();
            let locker = files.locker();
            let seen = names(&locker, &owner).await;
            let outcome = match begun {
                Some(outcome) => outcome,
                None => upload.await,
            };
            let later = names(&locker, &owner).await;
            match outcome {
                Ok(()) => assert_eq!(later, ["a", "b", "c"], "after step {step}"),
                Err(UploadError::Store(FilesError::Unavailable(_))) => {
                    given_up += 1;
                    assert_eq!((seen, later), (Vec::new(), Vec::<String>::new()), "after step {step}");
                    // Even what it had put after it was taken for dead is out of the way.
                    locker.upload(&owner, all(&["a", "b", "c"]), now()).await.unwrap();
                    assert_eq!(names(&locker, &owner).await, ["a", "b", "c"]);
                }
                Err(other) => panic!("{other:?}"),
            }
            if is_done {
                break;
            }
        }
        assert!(given_up > 1, "the upload was taken for dead {given_up} times only");
    })
    .await;
}

#[tokio::test]
async fn a_change_that_was_done_but_not_answered_is_not_called_undone() {
    let tables = EmbeddedDynamo::start(Where::Memory).unwrap();
    let server = EmbeddedS3::start(Where::Memory, None).unwrap();
    let (to_tables, to_files) =
        (LossyProxy::start(&tables.endpoint()).await, LossyProxy::start(&server.endpoint()).await);
    let dynamo = harness::connect(&to_tables.endpoint()).await;
    dynamo.create_missing_tables().await.unwrap();
    let files = Files::connect(to_files.endpoint(), dynamo).await;
    let locker = files.locker();

    to_tables.lose_answers_to("REMOVE #upload", 100);
    let uploaded = locker.upload(ADA, all(&["a"]), now()).await;
    assert!(matches!(uploaded, Err(UploadError::Store(FilesError::Unknown(_)))), "{uploaded:?}");
    assert_eq!(names(&locker, ADA).await, ["a"]);
    to_files.lose_answers_to("DELETE /", 100);
    let deleted = locker.delete(ADA, "a", now()).await;
    assert!(matches!(deleted, Err(FilesError::Unknown(_))), "{deleted:?}");
    assert!(names(&locker, ADA).await.is_empty());
    server.stop();
    tables.stop();
}

#[tokio::test]
async fn what_a_dead_upload_leaves_late_is_out_of_sight_and_goes_when_its_mark_does() {
    each_files(async |files| {
        // Until an object is there.
        for step in 1.. {
            if !files.keys().await.is_empty() {
                break;
            }
            let owner = format!("ada{step}@x.com");
            let cut = for_steps(step, files.locker().upload(&owner, all(&["a", "b"]), now())).await;
            assert!(cut.is_none());
        }
        let key = &files.keys().await[0];
        let (owner, _) = key.split_once('/').unwrap();
        let head =
            files.s3.client().head_object().bucket(&files.s3.buckets().medilocker).key(key).send().await;
        let upload = head.unwrap().metadata().unwrap()["kokoro-upload"].clone();
        let arrives_late = async || {
            files.put(&format!("{owner}/b"), b"late", &[("kokoro-upload", &upload)]).await;
        };
        let locker = files.locker();
        assert!(names(&locker, owner).await.is_empty());

        // What was swept is not swept again at every call, and still is out of sight and in nobody's way.
        arrives_late().await;
        assert!(names(&locker, owner).await.is_empty());
        assert_eq!(files.keys().await, [format!("{owner}/b")]);
        locker.upload(owner, all(&["b"]), now()).await.unwrap();
        assert_eq!(names(&locker, owner).await, ["b"]);
        assert!(locker.delete(owner, "b", now()).await.unwrap());
        arrives_late().await;
        assert!(locker.list(owner, now() + TimeDelta::seconds(31)).await.unwrap().is_empty());
        assert!(files.keys().await.is_empty());
        arrives_late().await;
        assert!(locker.list(owner, now() + TimeDelta::minutes(16)).await.unwrap().is_empty());
        assert!(files.keys().await.is_empty());
        // Nothing is remembered of it by then.
        arrives_late().await;
        assert_eq!(names(&locker, owner).await, ["b"]);
    })
    .await;
}

#[tokio::test]
async fn a_large_file_is_read_from_its_start_wherever_it_stands() {
    each_files(async |files| {
        let locker = files.locker();
        let bytes: Vec<u8> = (0..10 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
        locker.upload(ADA, vec![file("large", &bytes)], now()).await.unwrap();
        let url = locker.download_url(ADA, "large", now()).await.unwrap().unwrap();
        assert!(fetch(&url).await.2 == bytes);
    })
    .await;
}
