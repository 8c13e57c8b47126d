//! What an activation has published for reads: an immutable snapshot of each date, replaced after each commit.

use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{Datelike, NaiveDate};

use crate::calendar::{Calendar, DaySchedule, DayView, Event};
use crate::shard::FencingEpoch;

/// Views of the loaded dates as stored, and the epoch under which they were loaded.
#[derive(Debug, Default)]
pub(crate) struct Published {
    epoch: Option<FencingEpoch>,
    /// A commit replaces the dates that it changes: to touch all of them for each booking costs more than the booking
    /// when the doctor's memory is in no cache. The actor alone writes.
    days: Vec<(NaiveDate, ArcSwap<DayView>)>,
}

impl Published {
    /// The view of a date, if it was loaded under the epoch that is in force.
    pub(crate) fn view(&self, date: NaiveDate, in_force: Option<FencingEpoch>) -> Option<DayView> {
        let current = self.epoch.is_some() && self.epoch == in_force;
        let day = self.days.iter().find(|(day, _)| current && *day == date);
        day.map(|(_, view)| DayView::clone(&view.load()))
    }

    /// Everything that an idle calendar has loaded: then, what is decided is stored.
    pub(crate) fn all_of(calendar: &Calendar, epoch: Option<FencingEpoch>) -> Self {
        let view = |date| Some((date, ArcSwap::from_pointee(calendar.view(date)?)));
        Self { epoch, days: calendar.loaded_dates().filter_map(view).collect() }
    }

    /// An event is stored.
    pub(crate) fn publish(&self, event: &Event) {
        match event {
            Event::Booked(booking) => self.change(booking.date, |view| view.add(booking.start)),
            Event::Cancelled { booking, .. } => self.change(booking.date, |view| view.remove(booking.start)),
            Event::ScheduleSet { weekday, rows } => {
                let offered = DaySchedule::from_rows(rows.clone()).offered();
                let dates = self.days.iter().map(|(date, _)| *date);
                dates.filter(|date| date.weekday() == *weekday).for_each(|date| {
                    self.change(date, |view| view.offer(offered));
                });
            }
        }
    }

    fn change(&self, date: NaiveDate, change: impl FnOnce(&mut DayView)) {
        if let Some((_, published)) = self.days.iter().find(|(day, _)| *day == date) {
            let mut view = DayView::clone(&published.load());
            change(&mut view);
            published.store(Arc::new(view));
        }
    }
}
