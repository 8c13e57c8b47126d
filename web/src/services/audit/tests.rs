//! What becomes of an entry, by what becomes of that which it is about.

use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::web::{Data, to};
use actix_web::{App, HttpResponse, HttpServer};
use engine::{ManualClock, Rejection, SeededChance};
use futures::FutureExt;
use persistence::{Dynamo, EmbeddedDynamo, Endpoint, TableNames, Where};
use tokio::sync::Barrier;

use super::*;

/// A queue that nobody empties, before a store that nobody asks.
async fn audit() -> (Audit, mpsc::Receiver<Waiting>) {
    let store = Dynamo::connect(Endpoint::At("http://127.0.0.1:1".to_owned()), TableNames::default());
    let clock = Arc::new(ManualClock::new(chrono::DateTime::UNIX_EPOCH));
    Audit::new(store.await.unwrap().audit(), clock, Arc::new(SeededChance::new(1)))
}

fn doctor(text: &str) -> DoctorId {
    DoctorId::parse(text).unwrap()
}

fn deed() -> Deed {
    let (user, date) = (UserId::parse("ada@x.com").unwrap(), NaiveDate::default());
    Deed::seat(
        AuditAction::BookingCancelled,
        &user,
        &doctor("Dr@x.com"),
        date,
        SlotStart::parse("10:00").unwrap(),
    )
}

fn actor() -> Actor {
    Actor { party: AuditParty::User(UserId::parse("ada@x.com").unwrap()), request_id: 1 }
}

/// The doctor and the outcome of each entry that waits.
fn queued(inbox: &mut mpsc::Receiver<Waiting>) -> Vec<(DoctorId, AuditOutcome)> {
    let mut queued = Vec::new();
    while let Ok(Waiting::Entry(entry)) = inbox.try_recv() {
        let AuditSubject::Seat { doctor, .. } = entry.subject else { panic!("it is about a seat") };
        queued.push((doctor, entry.outcome));
    }
    queued
}

#[actix_web::test]
async fn what_is_done_is_told_with_the_doctor_who_was_found_and_what_is_refused_is_not() {
    let (audit, mut inbox) = audit().await;
    let actor = actor();
    let done = audit.on_record(&actor, deed(), async || Ok((doctor("dr@x.com"), Answer::Cancelled)));
    assert!(done.await.is_ok());
    for error in [Rejection::BookingNotFound.into(), EngineError::Busy, EngineError::Unavailable] {
        assert!(audit.on_record(&actor, deed(), async || Err(error)).await.is_err());
    }
    assert_eq!(queued(&mut inbox), [(doctor("dr@x.com"), AuditOutcome::Done)]);
}

#[actix_web::test]
async fn what_may_have_happened_is_told_as_such_also_when_nobody_waits_for_it_any_more() {
    let (audit, mut inbox) = audit().await;
    let actor = actor();
    let unknown = audit.on_record(&actor, deed(), async || Err(EngineError::OutcomeUnknown));
    assert!(matches!(unknown.await, Err(ApiError::OutcomeUnknown)));
    let mut hung_up = Box::pin(audit.on_record(&actor, deed(), async || std::future::pending().await));
    assert!(hung_up.as_mut().now_or_never().is_none());
    drop(hung_up);
    let unknown = (doctor("Dr@x.com"), AuditOutcome::Unknown);
    assert_eq!(queued(&mut inbox), [unknown.clone(), unknown]);
}

#[actix_web::test]
async fn nothing_is_done_while_no_entry_can_wait() {
    let (audit, inbox) = audit().await;
    let places: Vec<_> =
        (0..QUEUE_CAPACITY).map(|_| audit.queue.clone().try_reserve_owned().unwrap()).collect();
    let actor = actor();
    let asked = async || panic!("it was done without a place for its entry");
    assert!(audit.on_record(&actor, deed(), asked).now_or_never().is_none(), "it waits");
    drop((places, inbox));
    let closed = audit.on_record(&actor, deed(), async || panic!("as above")).await;
    assert!(matches!(closed, Err(ApiError::Internal(_))));
}

/// The instant before which there is no time left to try again.
fn long_ago() -> Instant {
    Instant::now() - WRITE_WITHIN
}

fn writer(audit: &Audit) -> Writer {
    let (trail, chance) = (Some(audit.trail.clone()), Arc::clone(&audit.chance));
    Writer { trail, chance, readings: Arc::clone(&audit.readings) }
}

#[actix_web::test]
async fn an_entry_that_the_store_does_not_take_keeps_out_no_other() {
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    let store = Dynamo::connect(server.endpoint(), TableNames::default()).await.unwrap();
    store.create_missing_tables().await.unwrap();
    let (unreachable, _inbox) = audit().await;
    let audit = Audit { trail: store.audit(), ..unreachable };
    let mut entries: Vec<_> = (0..10).map(|_| audit.entry(&actor(), deed())).collect();
    // DynamoDB takes 400 KB.
    entries[4].subject = AuditSubject::File { filename: "x".repeat(500_000) };
    writer(&audit).write(&entries, long_ago()).await;
    let page = audit.trail.page(&actor().party, None, 100).await.unwrap();
    assert_eq!(page.rows.len(), 9);
    server.stop();
}

/// Who ask a store of DynamoDB's pace at once, so that it is not the audit trail that says how much a node can book.
const CROWD: usize = 8;

/// A store that answers nobody before so many ask at once, and how many it has answered.
struct Crowd {
    complete: Barrier,
    answered: AtomicUsize,
}

#[actix_web::test]
async fn a_store_that_takes_its_time_is_asked_several_times_meanwhile() {
    let crowd = Data::new(Crowd { complete: Barrier::new(CROWD), answered: AtomicUsize::new(0) });
    let served = crowd.clone();
    let answer = async |crowd: Data<Crowd>| {
        crowd.complete.wait().await;
        crowd.answered.fetch_add(1, Ordering::Relaxed);
        HttpResponse::Ok().content_type("application/x-amz-json-1.0").body("{}")
    };
    let server = HttpServer::new(move || App::new().app_data(served.clone()).default_service(to(answer)));
    let server = server.workers(1).bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::At(format!("http://{}", server.addrs()[0]));
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);

    let (unreachable, inbox) = audit().await;
    let trail = Dynamo::connect(endpoint, TableNames::default()).await.unwrap().audit();
    let audit = Audit { trail, ..unreachable };
    for _ in 0..CROWD * AUDIT_ENTRIES_AT_ONCE {
        audit.queue.try_send(Waiting::Entry(audit.entry(&actor(), deed()))).ok().unwrap();
    }
    let writer = writer(&audit);
    drop(audit);
    writer.write_behind(inbox).await;
    assert_eq!(crowd.answered.load(Ordering::Relaxed), CROWD);
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_look_whose_entry_is_lost_is_told_of_the_next_time() {
    let (audit, mut inbox) = audit().await;
    let actor = actor();
    let look = async || audit.bookings_read(&actor, [actor.party.clone()]).await.unwrap();
    look().await;
    look().await;
    let Ok(Waiting::Entry(entry)) = inbox.try_recv() else { panic!("it leaves an entry") };
    assert!(inbox.try_recv().is_err(), "and a second look none");
    writer(&audit).write(&[entry], long_ago()).await;
    look().await;
    assert!(matches!(inbox.try_recv(), Ok(Waiting::Entry(_))));
}

#[actix_web::test]
async fn a_deed_goes_on_when_nobody_waits_for_it_and_one_that_has_panicked_does_not() {
    let (go, gone) = oneshot::channel::<()>();
    let (done, is_done) = oneshot::channel();
    let deed = Audit::see_through(async move {
        gone.await.map_err(ApiError::internal)?;
        done.send(()).map_err(|()| ApiError::internal("nobody waits"))
    });
    let mut deed = Box::pin(deed);
    assert!(futures::poll!(deed.as_mut()).is_pending());
    drop(deed);
    go.send(()).unwrap();
    assert_eq!(is_done.await, Ok(()));

    let begun = Arc::new(());
    let held = Arc::clone(&begun);
    let broken = Audit::see_through::<()>(async move {
        let _held = held;
        // It panics when it is polled for the second time.
        let _ = actix_web::rt::spawn(async {}).await;
        panic!("a bug")
    });
    assert!(std::panic::AssertUnwindSafe(broken).catch_unwind().await.is_err());
    // A task that it had left would have run before this one.
    actix_web::rt::spawn(async {}).await.unwrap();
    assert_eq!(Arc::strong_count(&begun), 1, "nothing of it is left");
}
