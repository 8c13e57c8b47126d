//! The embedded server: one process to a folder, and what was stored is still there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_sdk_dynamodb::types::AttributeValue;
use engine::{Clock, SystemClock};
use persistence::{DataFolder, DataFolderError, EmbeddedDynamo, Where};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{connect, connect_as, put, s};

fn start(folder: &Path) -> EmbeddedDynamo {
    EmbeddedDynamo::start(Where::File(DataFolder::lock(folder).unwrap())).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_folder_in_use_is_refused_by_name_and_free_again_afterwards() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let first = start(&folder);
    match DataFolder::lock(&folder) {
        Err(error @ DataFolderError::InUse { .. }) => {
            assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}");
        }
        other => panic!("{other:?}"),
    }
    first.stop();
    start(&folder).stop();
}

#[tokio::test]
async fn nobody_else_may_read_the_data() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("deep/data");
    let server = start(&folder);
    connect(&server.endpoint()).await.create_missing_tables().await.unwrap();
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("dynamodb")), 0o700);
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let dynamo = connect(&server.endpoint()).await;
    dynamo.create_missing_tables().await.unwrap();
    put(&dynamo, &dynamo.tables().users, [("email", s("ada@x.com")), ("username", s("Ada"))]).await;
    server.stop();

    let server = start(folder.path());
    let dynamo = connect_as(&server.endpoint(), dynamo.tables().clone()).await;
    dynamo.create_missing_tables().await.unwrap();
    let found = dynamo.accounts().find(persistence::AccountKind::User, "ada@x.com").await.unwrap();
    assert_eq!(found.unwrap().name, "Ada");
}

#[tokio::test]
async fn what_only_an_older_version_can_read_is_refused_with_a_way_out_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("dynamodb.sqlite");
    fs::write(&old, "SQLite format 3").unwrap();
    assert!(EmbeddedDynamo::is_in(folder.path()), "a tool would say that there is nothing");
    let told = EmbeddedDynamo::start(Where::File(DataFolder::lock(folder.path()).unwrap())).err().unwrap();
    let told = told.to_string();
    assert!(
        ["dynamodb.sqlite", "kokoro export", "kokoro import"].iter().all(|word| told.contains(word)),
        "{told}"
    );
    assert!(!folder.path().join("dynamodb").exists());
    assert_eq!(fs::read(&old).unwrap(), b"SQLite format 3");
}

#[tokio::test]
async fn what_an_older_version_has_left_beside_the_store_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path()).stop();
    let old = folder.path().join("dynamodb.sqlite");
    fs::write(&old, "SQLite format 3").unwrap();
    start(folder.path()).stop();
    assert_eq!(fs::read(&old).unwrap(), b"SQLite format 3");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("data");
    match DataFolder::lock(&folder) {
        Err(error @ DataFolderError::Refused { .. }) => {
            assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_folder_that_is_no_database_is_an_error_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let trees = folder.path().join("dynamodb/keyspaces/1");
    fs::create_dir_all(&trees).unwrap();
    fs::write(trees.join("rows"), "somebody's only copy of something").unwrap();
    let outcome = EmbeddedDynamo::start(Where::File(DataFolder::lock(folder.path()).unwrap()));
    assert!(outcome.is_err());
    assert_eq!(fs::read(trees.join("rows")).unwrap(), b"somebody's only copy of something");
}

#[tokio::test]
async fn bookings_whose_time_has_passed_are_swept_and_no_others() {
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    let dynamo = connect(&server.endpoint()).await;
    dynamo.create_missing_tables().await.unwrap();
    let table = &dynamo.tables().bookings;
    let ttl = |seconds: i64| ("ttl", AttributeValue::N(seconds.to_string()));
    let now = SystemClock.now().timestamp();
    // What was over more than five years ago is taken for another unit of time, as in DynamoDB.
    for (sort, seconds) in [("expired", now - 60), ("later", now + 60), ("odd", 1)] {
        put(&dynamo, table, [("PK", s("p")), ("SK", s(sort)), ttl(seconds)]).await;
    }
    put(&dynamo, table, [("PK", s("p")), ("SK", s("for ever"))]).await;
    server.sweep().unwrap();
    let left = dynamo.client().scan().table_name(table).send().await.unwrap().items.unwrap();
    let mut left: Vec<_> = left.iter().map(|item| item["SK"].as_s().unwrap().as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["for ever", "later", "odd"]);
}

#[tokio::test]
async fn pages_and_other_hosts_are_refused() {
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    let address = server.address().trim_start_matches("http://").to_owned();
    let port = address.rsplit_once(':').unwrap().1;
    let ask = async |headers: String| {
        let mut connection = tokio::net::TcpStream::connect(&address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer[9..12].parse::<u16>().unwrap()
    };
    for host in
        [address.clone(), "localhost".to_owned(), format!("localhost:{port}"), format!("[::1]:{port}")]
    {
        assert_eq!(ask(format!("Host: {host}\r\n")).await, 200, "{host}");
    }
    for host in ["rebound.example", "localhost.rebound.example", "127.0.0.1.rebound.example:80", ""] {
        assert_eq!(ask(format!("Host: {host}\r\n")).await, 403, "{host}");
    }
    assert_eq!(ask(format!("Host: {address}\r\nOrigin: http://{address}\r\n")).await, 403);
    server.stop();
}

#[tokio::test]
async fn a_stopped_server_is_gone() {
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    let address = server.address().trim_start_matches("http://").to_owned();
    assert!(tokio::net::TcpStream::connect(&address).await.is_ok());
    server.stop();
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
}
