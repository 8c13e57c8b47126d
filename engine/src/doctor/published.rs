//! What an activation has published for reads: an immutable snapshot of each date, replaced after each commit.

use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::NaiveDate;

use crate::calendar::{Calendar, DayView, Event};
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

    /// An event is stored. A view shows all of its changes or none.
    pub(crate) fn publish(&self, event: &Event) {
        for (date, published) in &self.days {
            let mut changes = event.changes.iter().filter(|change| change.concerns(*date)).peekable();
            if changes.peek().is_some() {
                let mut view = DayView::clone(&published.load());
                changes.for_each(|change| view.apply(change));
                published.store(Arc::new(view));
            }
        }
    }
}
