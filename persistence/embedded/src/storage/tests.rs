use std::fs;
use std::path::{Path, PathBuf};

use super::file::{File, NEARLY_FULL, WAITING_MAX};
use super::journal::{self, tests::ends};
use super::{Failed, Memory, Rows, Slice, Storage};

fn rows(rows: &[(&str, Option<&str>)]) -> Rows {
    rows.iter().map(|(key, value)| (Slice::from(*key), value.map(Slice::from))).collect()
}

fn text(storage: &dyn Storage, key: &str) -> Option<String> {
    storage.get(key.as_bytes()).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn keys(storage: &dyn Storage, from: &str, until: &str, backwards: bool) -> Vec<String> {
    let mut keys = Vec::new();
    storage
        .view(&mut |view| {
            for row in view.range(from.into()..until.into(), backwards) {
                keys.push(String::from_utf8(row?.0.to_vec()).unwrap());
            }
            Ok(())
        })
        .unwrap();
    keys
}

/// A folder with three writes, as a crash leaves it, its journal, and where each write ends.
fn three_writes(folder: &Path) -> (PathBuf, Vec<usize>) {
    let file = File::open(folder).unwrap();
    for number in ["1", "2", "3"] {
        file.write(&rows(&[(number, Some("some value")), ("last", Some(number))])).unwrap();
    }
    drop(file);
    let journal = journal::all(folder).unwrap().pop().unwrap();
    let ends = ends(&journal);
    assert_eq!(ends.len(), 3);
    (journal, ends)
}

#[test]
fn rows_are_found_in_both_directions_in_memory_and_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let storages: [Box<dyn Storage>; 2] =
        [Box::new(Memory::default()), Box::new(File::open(&folder.path().join("new")).unwrap())];
    for storage in storages {
        storage.write(&rows(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))])).unwrap();
        storage.write(&rows(&[("b", None), ("d", Some("4"))])).unwrap();
        assert_eq!(keys(&*storage, "a", "d", false), ["a", "c"]);
        assert_eq!(keys(&*storage, "a", "e", true), ["d", "c", "a"]);
        assert_eq!(keys(&*storage, "d", "a", false), [""; 0]);
        assert_eq!((text(&*storage, "b"), text(&*storage, "d").as_deref()), (None, Some("4")));
    }
}

#[test]
fn what_was_written_is_there_when_the_folder_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    three_writes(folder.path());
    let file = File::open(folder.path()).unwrap();
    assert_eq!(keys(&file, "0", "9", false), ["1", "2", "3"]);
    assert_eq!(text(&file, "last").as_deref(), Some("3"));
}

#[test]
fn rows_become_files_before_their_table_in_memory_is_full() {
    const ROW: usize = 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let file = File::open(folder.path()).unwrap();
    let keys_written: Vec<String> = (10..50).map(|number| number.to_string()).collect();
    let value = "x".repeat(ROW);
    for key in &keys_written {
        file.write(&rows(&[(key, Some(&value))])).unwrap();
        assert!(file.in_memory() < NEARLY_FULL + 2 * ROW as u64, "{} bytes at {key}", file.in_memory());
    }
    assert_eq!(keys(&file, "0", "9", false), keys_written);
    drop(file);
    assert_eq!(keys(&File::open(folder.path()).unwrap(), "0", "9", false), keys_written);
}

#[test]
fn what_has_become_a_file_is_not_kept_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::open(folder.path()).unwrap();
    let value = "x".repeat(NEARLY_FULL as usize / 4);
    for number in 0..40 {
        file.write(&rows(&[(&number.to_string(), Some(&value))])).unwrap();
        // Those that wait to become files, the one that is becoming one, and the last one that has become one.
        assert!(file.outgoing() <= WAITING_MAX + 2, "{} at {number}", file.outgoing());
    }
}

#[test]
fn a_write_that_failed_is_not_there_and_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::open(folder.path()).unwrap();
    file.write(&rows(&[("a", Some("kept"))])).unwrap();
    file.fail_next.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(file.write(&rows(&[("a", Some("lost")), ("b", Some("lost"))])), Err(Failed));
    assert_eq!(file.get(b"a"), Err(Failed));
    file.recover().unwrap();
    assert_eq!((text(&file, "a").as_deref(), text(&file, "b")), (Some("kept"), None));
    file.write(&rows(&[("c", Some("later"))])).unwrap();
    drop(file);
    let file = File::open(folder.path()).unwrap();
    assert_eq!((text(&file, "a").as_deref(), text(&file, "b")), (Some("kept"), None));
    assert_eq!(text(&file, "c").as_deref(), Some("later"));
}

#[test]
fn a_write_that_was_cut_short_is_forgotten_whole_wherever_it_was_cut() {
    let made = tempfile::tempdir().unwrap();
    let (journal, ends) = three_writes(made.path());
    let whole = fs::read(&journal).unwrap();
    for at in (ends[1] + 1..ends[2]).step_by(5) {
        // The rest was not written, or the first part was not, or a page in the middle was not.
        let zeroed = |from: usize, until: usize| {
            let mut bytes = whole.clone();
            bytes[from..until].fill(0);
            bytes
        };
        let mut changed = whole.clone();
        let value = whole[..ends[2]].windows(10).rposition(|window| window == b"some value").unwrap();
        changed[value + at % 10] ^= 0x20;
        for bytes in [whole[..at].to_vec(), zeroed(at, ends[2]), zeroed(ends[1], at), changed] {
            let intact = bytes[ends[1]..].starts_with(&whole[ends[1]..ends[2]]);
            fs::write(&journal, &bytes[..bytes.len().min(ends[2] + 64)]).unwrap();
            let file = File::open(made.path()).unwrap();
            let found = (text(&file, "3"), text(&file, "last"));
            let expected = if intact { (Some("some value"), Some("3")) } else { (None, Some("2")) };
            assert_eq!((found.0.as_deref(), found.1.as_deref()), expected, "at {at} of {ends:?}");
        }
    }
}

#[test]
fn damage_to_what_was_flushed_is_no_crash_and_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ends) = three_writes(folder.path());
    let whole = fs::read(&journal).unwrap();
    // The number of a write is the one thing that `fjall` has no checksum of.
    let number = ends[0] + 5..ends[0] + 13;
    for at in (ends[0]..ends[1]).filter(|at| !number.contains(at)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&journal, &bytes).unwrap();
        assert!(File::open(folder.path()).is_err(), "at {at} of {ends:?}");
        assert_eq!(fs::read(&journal).unwrap(), bytes, "what is left of it is gone, at {at}");
    }
}

#[test]
fn a_key_that_is_too_long_fails_the_write_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::open(folder.path()).unwrap();
    file.write(&rows(&[("a", Some("1"))])).unwrap();
    assert_eq!(file.write(&rows(&[("b", Some("2")), (&"x".repeat(70_000), Some("3"))])), Err(Failed));
    file.recover().unwrap();
    file.write(&rows(&[("c", Some("4"))])).unwrap();
    assert_eq!(keys(&file, "0", "z", false), ["a", "c"]);
}

#[test]
fn a_folder_whose_making_was_interrupted_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("keyspaces")).unwrap();
    fs::write(folder.path().join("0.jnl"), [0; 64]).unwrap();
    fs::write(folder.path().join("version"), "").unwrap();
    let file = File::open(folder.path()).unwrap();
    file.write(&rows(&[("a", Some("1"))])).unwrap();
    drop(file);
    // Without the marker, what is there is somebody's.
    fs::remove_file(folder.path().join("version")).unwrap();
    assert!(File::open(folder.path()).is_err());
    assert!(folder.path().join("keyspaces/1").is_dir());
}
