//! What an activation has published for reads: an immutable snapshot, replaced after each commit.

use std::sync::Arc;

use chrono::{Datelike, NaiveDate, Weekday};

use crate::calendar::{Calendar, DaySchedule, DayView, Event};
use crate::shard::FencingEpoch;

/// Views of the loaded dates as stored, and the epoch under which they were loaded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    epoch: Option<FencingEpoch>,
    days: Vec<(NaiveDate, Arc<DayView>)>,
}

impl Published {
    /// The view of a date, if it was loaded under the epoch that is in force.
    pub(crate) fn view(&self, date: NaiveDate, in_force: Option<FencingEpoch>) -> Option<Arc<DayView>> {
        let current = self.epoch.is_some() && self.epoch == in_force;
        let day = self.days.iter().find(|(day, _)| current && *day == date);
        day.map(|(_, view)| Arc::clone(view))
    }

    /// Everything that an idle calendar has loaded: then, what is decided is stored.
    pub(crate) fn all_of(calendar: &Calendar, epoch: Option<FencingEpoch>) -> Self {
        let views = calendar.loaded_dates().filter_map(|date| Some((date, Arc::new(calendar.view(date)?))));
        Self { epoch, days: views.collect() }
    }

    /// The same after an event was stored.
    pub(crate) fn after(&self, event: &Event) -> Self {
        let mut next = self.clone();
        match event {
            Event::Booked(booking) => next.change(booking.date, |view| view.add(booking.start)),
            Event::Cancelled { booking, .. } => next.change(booking.date, |view| view.remove(booking.start)),
            Event::ScheduleSet { weekday, rows } => {
                let offered = DaySchedule::from_rows(rows.clone()).offered();
                for date in next.dates_of(*weekday) {
                    next.change(date, |view| view.offer(offered));
                }
            }
        }
        next
    }

    fn dates_of(&self, weekday: Weekday) -> Vec<NaiveDate> {
        self.days.iter().map(|(date, _)| *date).filter(|date| date.weekday() == weekday).collect()
    }

    fn change(&mut self, date: NaiveDate, change: impl FnOnce(&mut DayView)) {
        if let Some((_, view)) = self.days.iter_mut().find(|(day, _)| *day == date) {
            change(Arc::make_mut(view));
        }
    }
}
