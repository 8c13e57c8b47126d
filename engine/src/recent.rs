//! What this node has answered lately, user by user: laid over the eventually consistent index of a user's bookings,
//! so that a user sees its own booking or cancellation at once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use foldhash::HashMap;

use crate::calendar::SlotStart;
use crate::ids::{DoctorId, UserId};
use crate::limits::{RECENT_KEPT, RECENT_MAX};

/// One answer about one seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentAnswer {
    /// Whose slot.
    pub doctor: DoctorId,
    /// The doctor's civil date.
    pub date: NaiveDate,
    /// The slot.
    pub start: SlotStart,
    /// Whether the user holds a seat in it since then.
    pub booked: bool,
}

/// The answers of the last minute, at most [`RECENT_MAX`] of them.
#[derive(Debug, Default)]
pub struct RecentAnswers {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_user: HashMap<UserId, VecDeque<RecentAnswer>>,
    /// Oldest first: how many answers of which user to forget when.
    order: VecDeque<(DateTime<Utc>, UserId)>,
}

impl RecentAnswers {
    /// Remembers an answer that is given at `now`.
    pub(crate) fn remember(&self, user: &UserId, answer: RecentAnswer, now: DateTime<Utc>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.forget_before(now);
        if inner.order.len() >= RECENT_MAX {
            inner.forget_oldest();
        }
        inner.by_user.entry(user.clone()).or_default().push_back(answer);
        inner.order.push_back((now, user.clone()));
    }

    /// What was answered to `user` within the last minute, oldest first.
    pub fn of(&self, user: &UserId, now: DateTime<Utc>) -> Vec<RecentAnswer> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.forget_before(now);
        inner.by_user.get(user).into_iter().flatten().cloned().collect()
    }
}

impl Inner {
    fn forget_before(&mut self, now: DateTime<Utc>) {
        let kept = TimeDelta::from_std(RECENT_KEPT).unwrap_or(TimeDelta::MAX);
        while self.order.front().is_some_and(|(at, _)| now - *at > kept) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, user)) = self.order.pop_front() else { return };
        if let Some(answers) = self.by_user.get_mut(&user) {
            answers.pop_front();
            if answers.is_empty() {
                self.by_user.remove(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(n: u8) -> RecentAnswer {
        RecentAnswer {
            doctor: DoctorId::parse("d@x.com").unwrap(),
            date: NaiveDate::from_ymd_opt(2026, 11, 23).unwrap(),
            start: SlotStart::all().nth(n.into()).unwrap(),
            booked: true,
        }
    }

    #[test]
    fn answers_are_forgotten_after_a_minute_and_leave_nothing_behind() {
        let (recent, user) = (RecentAnswers::default(), UserId::parse("u@x.com").unwrap());
        let start = DateTime::UNIX_EPOCH;
        recent.remember(&user, answer(1), start);
        recent.remember(&user, answer(2), start + TimeDelta::seconds(30));
        assert_eq!(recent.of(&user, start + TimeDelta::seconds(60)).len(), 2);
        assert_eq!(recent.of(&user, start + TimeDelta::seconds(61)), [answer(2)]);
        assert_eq!(recent.of(&user, start + TimeDelta::seconds(91)), []);
        assert!(recent.inner.lock().unwrap().by_user.is_empty());
    }
}
