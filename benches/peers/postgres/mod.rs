//! Bookings in PostgreSQL: a transaction for each, which locks the row of its slot.

mod server;

use std::path::Path;
use std::time::Duration;

use chrono::{Datelike, NaiveDate};
use engine::{DoctorId, SlotStart, UserId};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use crate::contract::{Doctors, PART_TIME, PART_TIME_START, Refusal, Seat, Seats};
use server::{ROLE, Server};

/// How long the database may take to start.
const START_WITHIN: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

const BOOK: &str = "SELECT book($1, $2, $3, $4)";
const CANCEL: &str = "SELECT cancel($1, $2, $3, $4)";
/// One row without a slot for a doctor who offers nothing that day.
const OFFERED: &str = "SELECT o.start, coalesce(s.taken, 0::smallint) FROM doctors d
    LEFT JOIN offered o ON o.doctor = d.id AND o.weekday = $3
    LEFT JOIN slots s ON s.doctor = d.id AND s.date = $2 AND s.start = o.start
    WHERE d.email = $1 ORDER BY o.start";
const HELD: &str = "SELECT d.email, b.date, b.start FROM bookings b JOIN doctors d ON d.id = b.doctor
    WHERE b.user_id = $1 ORDER BY b.date, b.start";

/// A database with tables and doctors.
pub(crate) struct Database {
    _server: Server,
    options: PgConnectOptions,
}

/// A worker's connections to it.
pub(crate) struct Bookings {
    pool: PgPool,
}

impl Database {
    /// Makes it in `folder`.
    pub(crate) async fn start(folder: &Path, doctors: Doctors, settings: &[String]) -> anyhow::Result<Self> {
        let mut server = Server::start(folder, settings)?;
        let options = PgConnectOptions::new_without_pgpass()
            .socket(&server.sockets)
            .username(ROLE)
            .database("postgres")
            .disable_statement_logging();
        let mut connection = connect(&mut server, &options).await?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&mut connection).await?;
        let emails: Vec<String> = doctors.addresses().map(|email| email.as_ref().to_owned()).collect();
        sqlx::query(
            "WITH d AS (INSERT INTO doctors (email) SELECT unnest($1::text[]) RETURNING id)
             INSERT INTO offered SELECT id, weekday, start FROM d, generate_series(0, 6) AS weekday,
             generate_series(0, 47) AS start",
        )
        .bind(emails)
        .execute(&mut connection)
        .await?;
        sqlx::query(
            "WITH d AS (INSERT INTO doctors (email) VALUES ($1) RETURNING id)
             INSERT INTO offered SELECT id, weekday, $2 FROM d, generate_series(0, 6) AS weekday",
        )
        .bind(PART_TIME)
        .bind(number(SlotStart::parse(PART_TIME_START)?))
        .execute(&mut connection)
        .await?;
        // Each by itself: together they would be a transaction.
        for tidy in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::raw_sql(tidy).execute(&mut connection).await?;
        }
        connection.close().await?;
        Ok(Self { _server: server, options })
    }

    /// So many connections to it.
    pub(crate) fn connect(&self, connections: u32) -> Bookings {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(connections)
            .test_before_acquire(false)
            .connect_lazy_with(self.options.clone());
        Bookings { pool }
    }
}

async fn connect(server: &mut Server, options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let started = tokio::time::timeout(START_WITHIN, async {
        loop {
            server.check()?;
            match PgConnection::connect_with(options).await {
                Ok(connection) => return Ok(connection),
                Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    });
    started.await?
}

impl Bookings {
    async fn change(&self, function: &'static str, seat: &Seat, user: &UserId) -> Result<(), Refusal> {
        let outcome: String = sqlx::query_scalar(function)
            .bind(seat.doctor.as_str())
            .bind(seat.date)
            .bind(number(seat.start))
            .bind(user.as_str())
            .fetch_one(&self.pool)
            .await
            .map_err(unknown)?;
        match outcome.as_str() {
            "done" => Ok(()),
            "doctor_not_found" => Err(Refusal::NoDoctor),
            "slot_unavailable" => Err(Refusal::NotOffered),
            "slot_full" => Err(Refusal::Full),
            "already_booked" => Err(Refusal::AlreadyBooked),
            "booking_not_found" => Err(Refusal::NoBooking),
            _ => Err(Refusal::Unknown),
        }
    }
}

impl Seats for Bookings {
    async fn book(&self, seat: &Seat, user: &UserId) -> Result<(), Refusal> {
        self.change(BOOK, seat, user).await
    }

    async fn cancel(&self, seat: &Seat, user: &UserId) -> Result<(), Refusal> {
        self.change(CANCEL, seat, user).await
    }

    async fn offered(&self, doctor: &DoctorId, date: NaiveDate) -> Result<Vec<(SlotStart, usize)>, Refusal> {
        let weekday = i16::try_from(date.weekday().num_days_from_monday()).unwrap_or_default();
        let rows: Vec<(Option<i16>, i16)> = sqlx::query_as(OFFERED)
            .bind(doctor.as_str())
            .bind(date)
            .bind(weekday)
            .fetch_all(&self.pool)
            .await
            .map_err(unknown)?;
        if rows.is_empty() {
            return Err(Refusal::NoDoctor);
        }
        let slots = rows.into_iter().filter_map(|(start, taken)| Some((slot(start?)?, taken)));
        Ok(slots.map(|(start, taken)| (start, usize::try_from(taken).unwrap_or_default())).collect())
    }

    async fn held(&self, user: &UserId) -> Result<Vec<Seat>, Refusal> {
        let rows: Vec<(String, NaiveDate, i16)> =
            sqlx::query_as(HELD).bind(user.as_str()).fetch_all(&self.pool).await.map_err(unknown)?;
        let seats = rows.into_iter().filter_map(|(doctor, date, start)| {
            Some(Seat { doctor: DoctorId::parse(&doctor).ok()?, date, start: slot(start)? })
        });
        Ok(seats.collect())
    }
}

fn number(start: SlotStart) -> i16 {
    i16::try_from(start.index()).unwrap_or_default()
}

fn slot(number: i16) -> Option<SlotStart> {
    SlotStart::all().nth(usize::try_from(number).ok()?)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn unknown(error: sqlx::Error) -> Refusal {
    tracing::warn!(%error, "the database does not answer as it should");
    Refusal::Unknown
}
