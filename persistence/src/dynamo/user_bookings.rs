//! Stored bookings as lists: a user's through the index, a doctor's date by date. For showing, never for
//! deciding.

use chrono::NaiveDate;
use engine::calendar::DateSpelling;
use engine::store::LoadError;
use engine::{DoctorId, UserId};
use futures::{StreamExt, TryStreamExt, stream};

use super::bookings::partition_query;
use super::items::{Item, number_of, report, text, text_of};
use super::{Dynamo, all_rows, keys};

/// Queries that run at once for one list.
const QUERIES_AT_ONCE: usize = 32;
/// Dates in one doctor's list; each costs up to four queries.
pub const LISTED_DATES_MAX: usize = 1_000;

/// One stored booking, with its texts as they are stored.
#[derive(Clone, PartialEq, Eq)]
pub struct BookingRow {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
    /// The doctor's address; from the key where the row has none.
    pub doctor_id: String,
    /// The date as spelled in the row; from the key where the row has none.
    pub date: String,
    /// The start as spelled in the row, on the grid or not; from the key where the row has none.
    pub start: String,
    /// The user's address, well-formed or not; from the key where the row has none.
    pub user_id: String,
    /// When the row may be deleted, in seconds since 1970.
    pub ttl: Option<i64>,
    /// The date that `date` spells.
    pub day: NaiveDate,
}

impl std::fmt::Debug for BookingRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BookingRow({} {}, ..)", self.day, self.start)
    }
}

/// Lists of stored bookings.
#[derive(Debug, Clone)]
pub struct UserBookings {
    dynamo: Dynamo,
}

impl UserBookings {
    pub(super) const fn new(dynamo: Dynamo) -> Self {
        Self { dynamo }
    }

    /// A user's bookings from `since` on, by date and start. Reads the whole of the user's partition in the
    /// index, for its order is the time of day; the index lags behind the table. Rows whose date cannot be
    /// read are reported and left out. Fails rather than truncates when the user has more rows than 32
    /// megabytes hold.
    pub async fn of_user(&self, user: &UserId, since: NaiveDate) -> Result<Vec<BookingRow>, LoadError> {
        let table = &self.dynamo.tables.bookings;
        let query = self
            .dynamo
            .patient
            .query()
            .table_name(table)
            .index_name(keys::USER_BOOKINGS_INDEX)
            .key_condition_expression(keys::OF_USER)
            .expression_attribute_values(keys::PARTITION_VALUE, text(user.as_str()));
        let items = all_rows(query).await?;
        let rows = items.iter().filter_map(|item| read_row(table, item));
        Ok(sorted(rows.filter(|row| row.day >= since).collect()))
    }

    /// A doctor's bookings from one date to another, both included, by date and start, strongly consistent.
    /// Refused for more than [`LISTED_DATES_MAX`] dates.
    pub async fn of_doctor(
        &self,
        doctor: &DoctorId,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<BookingRow>, LoadError> {
        let dates: Vec<_> =
            from.iter_days().take_while(|date| *date <= to).take(LISTED_DATES_MAX + 1).collect();
        if dates.len() > LISTED_DATES_MAX {
            return Err(LoadError::Refused(format!("more than {LISTED_DATES_MAX} dates in one list")));
        }
        let table = &self.dynamo.tables.bookings;
        let queries = dates.into_iter().flat_map(|date| {
            DateSpelling::of(date).map(move |spelling| keys::bookings_partition(doctor, date, spelling))
        });
        let queries = queries.map(|partition| all_rows(partition_query(&self.dynamo, table, partition)));
        let items: Vec<Vec<Item>> =
            stream::iter(queries).buffer_unordered(QUERIES_AT_ONCE).try_collect().await?;
        Ok(sorted(items.iter().flatten().filter_map(|item| read_row(table, item)).collect()))
    }
}

fn read_row(table: &str, item: &Item) -> Option<BookingRow> {
    let pk = text_of(item, keys::PK).unwrap_or_default();
    let sk = text_of(item, keys::SK).unwrap_or_default();
    let (key_doctor, key_date) = keys::split_bookings_partition(pk);
    let (key_start, key_user) = keys::split_booking_sort(sk);
    // The key says which day it is; the attribute only says how to show it.
    let date = text_of(item, keys::DATE).unwrap_or(key_date);
    let Some(day) = keys::parse_date(key_date).or_else(|| keys::parse_date(date)) else {
        report(table, "a booking's date is YYYY-MM-DD");
        return None;
    };
    let or_key = |name, key: &str| text_of(item, name).unwrap_or(key).to_owned();
    Some(BookingRow {
        pk: pk.to_owned(),
        sk: sk.to_owned(),
        doctor_id: or_key(keys::DOCTOR_ID, key_doctor),
        date: date.to_owned(),
        start: or_key(keys::START, key_start),
        user_id: or_key(keys::USER_ID, key_user),
        ttl: number_of(item, keys::TTL),
        day,
    })
}

fn sorted(mut rows: Vec<BookingRow>) -> Vec<BookingRow> {
    rows.sort_by(|a, b| (a.day, &a.start, &a.sk, &a.pk).cmp(&(b.day, &b.start, &b.sk, &b.pk)));
    rows
}
