//! `kokoro-memory`: the product with its engine on the store in memory, so that what is measured is neither a database nor
//! the way to it. Everything else is the product's own, and where the settings say: accounts and files are in the embedded
//! stores. The audit trail of bookings is made, queued, and dropped at the end of the queue, unless `--audited`: each entry
//! is a write to the embedded database, which would be what is measured.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::sync::Arc;

use anyhow::Context;
use chrono::{Days, NaiveDate, Weekday};
use clap::Parser;
use engine::calendar::{DaySchedule, Event};
use engine::limits::BOOKING_WINDOW_DAYS;
use engine::store::{Batch, BatchEvent};
use engine::{
    BookingStore, Chance, Clock, DoctorId, EventId, MemoryStore, RequestToken, SlotSet, SlotStart,
    SystemChance, SystemClock,
};
use mimalloc::MiMalloc;
use web::config::{Environment, Options as Settings};
use web::startup::{Application, EngineStore, StopSignals, Surroundings};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const WEEK: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// The product with its engine on the store in memory. Its settings are the product's variables.
#[derive(Parser)]
#[command(name = "kokoro-memory")]
struct Options {
    /// Doctors, each of whom offers every half hour: doctor0@clinic.example and so on.
    #[arg(long, default_value_t = 1_000)]
    doctors: usize,
    /// Write the audit trail of bookings, to the embedded database.
    #[arg(long)]
    audited: bool,
}

fn main() -> anyhow::Result<()> {
    web::scheduler::take_turns();
    let Options { doctors, audited } = Options::parse();
    let settings = Settings::read(std::iter::empty::<&str>(), &Environment::of_process())?;
    web::telemetry::install(settings.log_filter(), settings.log_format())?;
    let config = settings.into_config()?;
    let (clinic, doctors) = (config.clinic.wall_clock.clone(), addresses(doctors)?);
    actix_web::rt::System::new().block_on(async {
        let signals = StopSignals::listen()?;
        let store = MemoryStore::new();
        for doctor in &doctors {
            add(&store, doctor).await?;
        }
        let given =
            EngineStore::Given { bookings: Arc::new(store.clone()), fences: Arc::new(store), audited };
        let surroundings = Surroundings { store: given, ..Surroundings::of_this_machine() };
        let application = Application::build(config, surroundings).await.context("cannot start")?;
        bring_into_memory(&application, &doctors, clinic.today(SystemClock.now())).await?;
        println!("kokoro-memory listens on {}", application.url());
        application.run_until_stopped(signals.received()).await.map(drop)
    })
}

fn addresses(doctors: usize) -> anyhow::Result<Vec<DoctorId>> {
    Ok((0..doctors)
        .map(|number| DoctorId::parse(&format!("doctor{number}@clinic.example")))
        .collect::<Result<_, _>>()?)
}

/// Registers a doctor, and its hours as the engine writes them.
async fn add(store: &MemoryStore, doctor: &DoctorId) -> anyhow::Result<()> {
    store.add_doctor(doctor.clone());
    let rows = DaySchedule::NOTHING.rows_offering(SlotStart::all().collect(), SlotSet::EMPTY);
    let week = WEEK.map(|weekday| BatchEvent {
        doctor: doctor.clone(),
        id: EventId::new(SystemChance.bits()),
        event: Event::hours_set(weekday, rows.clone()).into(),
    });
    let token = RequestToken::new(SystemChance.bits());
    Ok(store.commit(&Batch { token, checks: Vec::new(), events: week.into() }).await?)
}

/// Asks for every date of these doctors once, so that what is measured afterwards is not the loading.
async fn bring_into_memory(
    application: &Application,
    doctors: &[DoctorId],
    today: NaiveDate,
) -> anyhow::Result<()> {
    let directory = application.directory();
    for doctor in doctors {
        for days in 0..=BOOKING_WINDOW_DAYS {
            directory.view(doctor, today + Days::new(days)).await?;
        }
    }
    Ok(())
}
