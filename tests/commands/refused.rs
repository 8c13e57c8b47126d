//! What is not exported over, and what is not imported.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::*;
use crate::old_platform;
use crate::stores::*;

/// An export of the old platform's tables, and where it came from.
async fn exported(scratch: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (data, to) = (scratch.join("data"), scratch.join("export"));
    let store = Opened::at(&data).await;
    old_platform::fill(&store).await;
    drop(store);
    export(&data, &to);
    (data, to)
}

/// What import says of it, and what was done to the folder.
type Damage = (&'static str, fn(&Path));

/// The first file below a folder of objects.
fn some_object(folder: &Path) -> std::path::PathBuf {
    let below = |path: &Path| fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
    below(&below(&folder.join("files/medilocker")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_not_what_was_exported_is_not_imported() {
    let (scratch, _) = folder();
    let (_, good) = exported(scratch.path()).await;
    let there = scratch.path().join("there");
    let damages: [Damage; 7] = [
        ("no manifest", |folder| fs::remove_file(folder.join("manifest.json")).unwrap()),
        ("damaged", |folder| {
            let path = folder.join("tables/users.jsonl");
            fs::write(&path, fs::read_to_string(&path).unwrap().replacen("u0@x.com", "u9@x.com", 1)).unwrap();
        }),
        ("damaged", |folder| {
            let path = folder.join("tables/bookings.jsonl");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>())
                .unwrap();
        }),
        ("damaged", |folder| fs::write(some_object(folder), "something else").unwrap()),
        ("No such file", |folder| fs::remove_file(some_object(folder)).unwrap()),
        ("damaged", |folder| fs::write(folder.join("manifest.json"), "{}").unwrap()),
        ("format 2", |folder| {
            let path = folder.join("manifest.json");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replacen("\"format\": 1", "\"format\": 2", 1)).unwrap();
        }),
    ];
    for (index, (why, damage)) in damages.into_iter().enumerate() {
        let bad = scratch.path().join(format!("bad{index}"));
        assert!(std::process::Command::new("cp").arg("-r").args([&good, &bad]).status().unwrap().success());
        damage(&bad);
        let said = refused(&there, &["import", bad.to_str().unwrap()]);
        assert!(said.contains(why), "{index}: {said}");
    }
    // Nothing was written: the good one finds an empty store.
    import(&there, &good);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_data_is_filled_only_over() {
    let (scratch, _) = folder();
    let (data, good) = exported(scratch.path()).await;
    let good_text = good.to_str().unwrap();
    assert!(refused(&data, &["import", good_text]).contains("not empty"));
    assert!(!good.join("import.json").exists());
    let store = Opened::at(&data).await;
    let table = store.dynamo.tables().users.clone();
    store.put(&table, &[("email", s("u0@x.com")), ("username", s("Changed"))]).await;
    store.put(&table, &[("email", s("later@x.com"))]).await;
    drop(store);
    done(&data, &["import", good_text, "--over"]);
    let store = Opened::at(&data).await;
    let row = async |email: &str| {
        let get = store.dynamo.client().get_item().table_name(&table).key("email", s(email));
        get.send().await.unwrap().item
    };
    assert_eq!(row("u0@x.com").await.unwrap()["username"], s("Somebody"));
    assert!(row("later@x.com").await.is_some());
    drop(store);

    // A program that serves would not see what is written over what it knows; one with an empty store knows nothing.
    let node = Node::start(&Data::Folder(&data));
    assert!(refused(&data, &["import", good_text, "--over"]).contains("stop it first"));
    drop(node);
    let empty = scratch.path().join("empty");
    let node = Node::start(&Data::Folder(&empty));
    import(&empty, &good);
    let day = json!({"doctor_id": "dr@x.com", "date": date_in(3)});
    let (status, day) = node.post("/doctorBookings/available", None, &day).await;
    assert_eq!((status, day["slots"][0]["booked"].as_u64()), (200, Some(6)), "{day}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_has_lost_meanwhile_is_noticed() {
    let (scratch, _) = folder();
    let (_, good) = exported(scratch.path()).await;
    let there = scratch.path().join("there");
    // As if all users had been written, and were gone when the import went on.
    let target = format!("tables in {0}, files in {0}", there.display());
    fs::write(good.join("import.json"), json!({"target": target, "done": ["users"], "at": 0}).to_string())
        .unwrap();
    let said = refused(&there, &["import", good.to_str().unwrap()]);
    assert!(said.contains("Users has 0 of 16"), "{said}");
    fs::remove_file(good.join("import.json")).unwrap();
    done(&there, &["import", good.to_str().unwrap(), "--over"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_does_not_write_over_anything() {
    let (scratch, _) = folder();
    let (data, good) = exported(scratch.path()).await;
    assert!(refused(&data, &["export", good.to_str().unwrap()]).contains("whole export"));
    let other = scratch.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.tex"), "").unwrap();
    assert!(refused(&data, &["export", other.to_str().unwrap()]).contains("neither empty"));
    fs::remove_file(other.join("thesis.tex")).unwrap();
    let begun =
        json!({"format": 1, "source": "tables elsewhere", "documents_bucket": "kokoro-doctor-documents"});
    fs::write(other.join("export.json"), begun.to_string()).unwrap();
    assert!(
        refused(&data, &["export", other.to_str().unwrap()]).contains("another store (tables elsewhere)")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_its_owners_alone_and_holds_no_secret() {
    use std::os::unix::fs::PermissionsExt;
    let (scratch, data) = folder();
    drop(Node::start_with(&Data::Folder(&data), &[("KOKORO_JWT_SECRET", "")]));
    let secrets = ["jwt-secret", "store-secret"].map(|name| fs::read_to_string(data.join(name)).unwrap());
    let to = scratch.path().join("export");
    export(&data, &to);
    let mut folders = vec![to];
    while let Some(folder) = folders.pop() {
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o077, 0, "{}", folder.display());
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
            let text = fs::read_to_string(&path).unwrap();
            assert!(secrets.iter().all(|secret| !text.contains(secret.trim())), "{}", path.display());
        }
    }
}
