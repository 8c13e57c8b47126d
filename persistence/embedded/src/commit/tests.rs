use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use futures::FutureExt;

use super::*;
use crate::storage::{Memory, View};

/// A storage that does what the test says, when it says so.
struct Held {
    memory: Arc<Memory>,
    begun: Sender<usize>,
    verdicts: Mutex<Receiver<bool>>,
}

impl Storage for Held {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>, Failed> {
        self.memory.get(key)
    }

    fn view(&self, look: &mut dyn FnMut(&dyn View) -> Result<(), Failed>) -> Result<(), Failed> {
        self.memory.view(look)
    }

    fn write(&self, rows: &Rows) -> Result<(), Failed> {
        self.begun.send(rows.len()).unwrap();
        if self.verdicts.lock().unwrap().recv().unwrap() { self.memory.write(rows) } else { Err(Failed) }
    }

    fn recover(&self) -> Result<(), Failed> {
        Ok(())
    }

    fn close(&self) {}
}

struct Test {
    commits: Arc<Commits>,
    begun: Receiver<usize>,
    verdicts: Sender<bool>,
    memory: Arc<Memory>,
    writer: Option<JoinHandle<()>>,
}

impl Test {
    fn start() -> Self {
        let (memory, (begin, begun), (verdicts, given)) = (Arc::new(Memory::default()), channel(), channel());
        let held = Held { memory: Arc::clone(&memory), begun: begin, verdicts: Mutex::new(given) };
        let commits = Arc::new(Commits::new(Box::new(held), false));
        let writing = Arc::clone(&commits);
        let writer = std::thread::spawn(move || writing.run(|| Ok(())));
        Self { commits, begun, verdicts, memory, writer: Some(writer) }
    }

    /// Counts up, unless `at_most` is reached.
    fn count(&self, at_most: u8) -> impl Future<Output = Result<u8, Refusal>> + Unpin + use<> {
        let waiting = self.commits.write(|pending| {
            let count = pending.get(b"count")?.map_or(0, |value| value[0]) + 1;
            if count > at_most {
                return Err(Refusal::ConditionFailed(None));
            }
            pending.set(Slice::from("count"), Some(Slice::from([count])));
            pending.remember(u128::from(count), 7, 0);
            Ok(count)
        });
        Box::pin(waiting.answer())
    }

    fn token(&self, token: u128) -> Option<u128> {
        Pending { state: &mut self.commits.lock(), storage: self.commits.storage() }.token(token, 0)
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        self.commits.stop();
        if std::thread::panicking() {
            // The writer may wait for a verdict that nobody will send.
            return;
        }
        if let Some(writer) = self.writer.take() {
            writer.join().unwrap();
        }
    }
}

fn answer<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}

#[test]
fn what_comes_while_the_disk_is_busy_is_written_together_and_nothing_is_answered_before() {
    let test = Test::start();
    let mut first = test.count(9);
    assert_eq!(test.begun.recv().unwrap(), 1);
    let mut others: Vec<_> = (0..3).map(|_| test.count(9)).collect();
    let mut refused = test.count(4);
    assert_eq!(test.memory.get(b"count"), Ok(None), "a read would see what is not on the disk");
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut refused).now_or_never().is_none(), "it rests on what is not on the disk");
    test.verdicts.send(true).unwrap();
    assert_eq!(answer(first), Ok(1));
    assert_eq!(test.begun.recv().unwrap(), 1, "one row, written three times");
    assert!(others.iter_mut().all(|other| other.now_or_never().is_none()));
    test.verdicts.send(true).unwrap();
    assert_eq!(others.into_iter().map(answer).collect::<Vec<_>>(), [Ok(2), Ok(3), Ok(4)]);
    assert_eq!(answer(refused), Err(Refusal::ConditionFailed(None)));
    assert_eq!(answer(test.count(4)), Err(Refusal::ConditionFailed(None)), "nothing is under way");
}

#[test]
fn a_write_that_fails_takes_with_it_all_that_was_decided_on_top_of_it() {
    let test = Test::start();
    let first = test.count(9);
    test.begun.recv().unwrap();
    let (second, refused) = (test.count(9), test.count(2));
    assert_eq!((test.token(1), test.token(2)), (Some(7), Some(7)));
    test.verdicts.send(false).unwrap();
    for failed in [first, second, refused] {
        assert_eq!(answer(failed), Err(Refusal::Broken));
    }
    assert_eq!(test.memory.get(b"count"), Ok(None));
    assert_eq!(
        (test.token(1), test.token(2)),
        (None, None),
        "a repeat would be told of a success that was none"
    );
    test.verdicts.send(true).unwrap();
    // What is decided before the storage has recovered fails too.
    let mut again = std::iter::repeat_with(|| answer(test.count(9)));
    assert_eq!(again.find(|outcome| *outcome != Err(Refusal::Broken)), Some(Ok(1)));
}

#[test]
fn a_familiar_row_is_as_it_was_written_last() {
    let test = Test::start();
    let row = Slice::from("count");
    let look = || answer(test.commits.write(|pending| pending.get_familiar(&row)).answer());
    let number = |number: u8| Ok(Some(Slice::from([number])));
    assert_eq!(look(), Ok(None), "and what is not there is not kept");
    for written in 1..=2 {
        let counted = test.count(9);
        test.begun.recv().unwrap();
        let on_the_way = test.commits.write(|pending| pending.get_familiar(&row));
        test.verdicts.send(true).unwrap();
        assert_eq!((answer(counted), answer(on_the_way.answer())), (Ok(written), number(written)));
        assert_eq!((look(), look()), (number(written), number(written)));
    }
    let failed = test.count(9);
    test.begun.recv().unwrap();
    // The storage may have something else when it is had again.
    let rows = Rows::from_iter([(row.clone(), Some(Slice::from([7])))]);
    test.memory.write(&rows).unwrap();
    test.verdicts.send(false).unwrap();
    assert_eq!(answer(failed), Err(Refusal::Broken));
    let mut again = std::iter::repeat_with(look);
    assert_eq!(again.find(|outcome| *outcome != Err(Refusal::Broken)), Some(number(7)));
}

#[test]
fn what_was_decided_before_all_was_had_again_is_failed() {
    let (held, (begin, begun), (verdicts, given)) = (Arc::new(Memory::default()), channel(), channel());
    let storage = Held { memory: held, begun: begin, verdicts: Mutex::new(given) };
    let commits = Arc::new(Commits::new(Box::new(storage), false));
    let (writing, (decide, decided)) = (Arc::clone(&commits), channel());
    let set = |commits: &Commits| {
        commits.write(|pending| {
            pending.set(Slice::from("a"), Some(Slice::from("1")));
            Ok(())
        })
    };
    let writer = std::thread::spawn(move || {
        writing.run(|| {
            decide.send(set(&writing)).unwrap();
            Ok(())
        });
    });
    let first = set(&commits);
    begun.recv().unwrap();
    verdicts.send(false).unwrap();
    verdicts.send(true).unwrap();
    assert_eq!(answer(first.answer()), Err(Refusal::Broken));
    assert_eq!(answer(decided.recv().unwrap().answer()), Err(Refusal::Broken));
    commits.stop();
    writer.join().unwrap();
}

#[test]
fn when_the_thread_that_writes_dies_whoever_waits_is_told_and_all_later_are_refused() {
    let mut test = Test::start();
    let first = test.count(9);
    test.begun.recv().unwrap();
    let second = test.count(9);
    // Without it the storage panics.
    test.verdicts = channel().0;
    assert!(test.writer.take().unwrap().join().is_err());
    for told in [first, second, test.count(9)] {
        assert_eq!(told.now_or_never(), Some(Err(Refusal::Broken)));
    }
}

#[test]
fn one_more_than_may_wait_is_refused() {
    let test = Test::start();
    let first = test.count(u8::MAX);
    test.begun.recv().unwrap();
    let waiting: Vec<_> = (0..WAITING_MAX).map(|_| test.count(0)).collect();
    assert_eq!(test.count(0).now_or_never(), Some(Err(Refusal::Throttled)));
    test.verdicts.send(true).unwrap();
    assert_eq!(answer(first), Ok(1));
    for refused in waiting {
        assert_eq!(answer(refused), Err(Refusal::ConditionFailed(None)));
    }
}

#[test]
fn what_was_decided_before_a_stop_is_written_and_what_comes_after_is_refused() {
    let test = Test::start();
    let first = test.count(9);
    test.begun.recv().unwrap();
    let second = test.count(9);
    test.commits.stop();
    assert_eq!(answer(test.count(9)), Err(Refusal::Broken));
    test.verdicts.send(true).unwrap();
    test.verdicts.send(true).unwrap();
    assert_eq!((answer(first), answer(second)), (Ok(1), Ok(2)));
}

#[test]
fn tokens_are_known_for_ten_minutes_and_no_more_of_them_than_fit() {
    let mut tokens = Tokens::default();
    tokens.insert(1, 10, 0);
    tokens.insert(2, 20, 1000);
    assert_eq!(tokens.get(1, TOKEN_LIFE), Some(10));
    assert_eq!(tokens.get(1, TOKEN_LIFE + 1), None);
    assert_eq!(tokens.get(2, TOKEN_LIFE + 1), Some(20));
    for token in 3..3 + TOKENS_MAX as u128 {
        tokens.insert(token, token, 2000);
    }
    assert_eq!((tokens.get(2, 2000), tokens.get(3, 2000)), (None, Some(3)));
    assert_eq!((tokens.meanings.len(), tokens.aging.len()), (TOKENS_MAX, TOKENS_MAX));
}
