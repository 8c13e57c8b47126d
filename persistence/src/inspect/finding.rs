//! What can be odd in the tables and buckets, each kind with what it means.

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The engine does with it what is meant; nobody needs to do anything.
    Harmless,
    /// Somebody should look at it: something is not seen, or not as it was meant.
    Attention,
}

impl Severity {
    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Harmless => "harmless",
            Self::Attention => "attention",
        }
    }
}

/// Lists the kinds, so that each is written once.
macro_rules! findings {
    ($($kind:ident, $severity:ident, $name:literal, $sentence:literal;)*) => {
        /// A kind of oddity.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Finding {
            $(#[doc = $sentence] $kind,)*
        }

        impl Finding {
            /// Every kind, in the order of the report.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// A word for it, which stays the same.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// How much it matters.
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$kind => Severity::$severity,)*
                }
            }

            /// What it means.
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$kind => $sentence,)*
                }
            }
        }
    };
}

findings! {
    TableMissing, Attention, "table_missing",
        "A table of the old platform is not there: its name is another, or it is lost. The engine would make an empty one.";
    OwnTableMissing, Harmless, "own_table_missing",
        "A table of the engine's own is not there yet: it is made at the first start.";
    BucketMissing, Attention, "bucket_missing",
        "A bucket is not there: its name is another, or it is lost. The engine would make an empty one.";
    TimeToLiveOff, Harmless, "time_to_live_off",
        "The table of bookings does not delete rows whose time is over: old bookings stay in it.";

    AddressUnfit, Attention, "address_unfit",
        "An account's address is none (no '@', a '#', a space, more than 254 bytes): nobody can log in with it.";
    PasswordMissing, Attention, "password_missing",
        "An account has no password hash: nobody can log in, and the address cannot be signed up again.";
    PasswordUnreadable, Attention, "password_unreadable",
        "An account's password hash is neither bcrypt nor Argon2id: nobody can log in.";
    AddressesDifferByCase, Attention, "addresses_differ_by_case",
        "Accounts of one kind whose addresses differ only by case: two identities, most likely of one person.";
    AddressesNotCompared, Attention, "addresses_not_compared",
        "Addresses with capital letters beyond the first million of them: not all were compared with one another.";
    AddressWithCapitals, Harmless, "address_with_capitals",
        "An account's address has capital letters: it is found as it was typed at sign-up, as the old platform did.";
    AccountFieldUnreadable, Harmless, "account_field_unreadable",
        "A name, place or profile text of another type: shown as if it were not there.";
    ListUnreadable, Attention, "list_unreadable",
        "A list of subscriptions is none: subscribing fails until it is one.";
    DocumentElsewhere, Harmless, "document_elsewhere",
        "A doctor's document has an address that is not in the bucket of documents: it is not shown.";
    DocumentLost, Attention, "document_lost",
        "A doctor's document is not in the bucket: its link leads nowhere.";

    ScheduleKeyUnreadable, Attention, "schedule_key_unreadable",
        "A schedule's key names no doctor and weekday: it is never read.";
    ScheduleKeyOfOldBug, Harmless, "schedule_key_of_old_bug",
        "A schedule row under 'WeekDay.': read, since the plain key has no rows.";
    ScheduleKeyShadowed, Harmless, "schedule_key_shadowed",
        "A schedule row under 'WeekDay.' beside rows under the plain key: never read.";
    SpanUnreadable, Attention, "span_unreadable",
        "A schedule row's times are none (25:99, empty, reversed, with more than one '-'): it offers nothing.";
    SpanOffGrid, Attention, "span_off_grid",
        "A schedule row begins or ends off the half hour: it offers nothing.";
    SpanLong, Harmless, "span_long",
        "A schedule row is longer than half an hour: it offers each of its slots.";
    SpansOverlap, Harmless, "spans_overlap",
        "A weekday whose schedule rows overlap: each slot is offered once.";
    MidnightAsZero, Harmless, "midnight_as_zero",
        "A schedule row ends at 00:00: taken as 24:00.";
    AvailabilityFalse, Harmless, "availability_false",
        "A schedule row is not available. One old version wrote that when somebody booked: it may mean 'was booked once'. The doctor can offer it again.";
    AvailabilityUnreadable, Attention, "availability_unreadable",
        "A schedule row's availability is neither true nor false: taken as not available.";
    ScheduleOfNobody, Harmless, "schedule_of_nobody",
        "A schedule row of a doctor who does not exist: never read.";

    SlotAboveFive, Attention, "slot_above_five",
        "A slot holds more than five: shown as full, and full until it is below. Somebody should tell the patients.";
    BookingKeyUnreadable, Attention, "booking_key_unreadable",
        "A booking's key names no doctor and date: it is never read.";
    BookingStartUnreadable, Attention, "booking_start_unreadable",
        "A booking's start is no time: it holds no seat and cannot be cancelled.";
    BookingOffGrid, Attention, "booking_off_grid",
        "A booking starts off the half hour: it holds no seat and cannot be cancelled.";
    BookingUserUnreadable, Attention, "booking_user_unreadable",
        "A booking whose user cannot be named: it holds a seat, and nobody can cancel it.";
    BookingWithoutSlot, Attention, "booking_without_slot",
        "A booking of a slot that no row of the doctor's schedule names.";
    BookingInWithdrawnSlot, Harmless, "booking_in_withdrawn_slot",
        "A booking of a slot that is not available now: it stays.";
    BookingOfNoDoctor, Attention, "booking_of_no_doctor",
        "A booking with a doctor who does not exist: its user sees it, and cannot cancel it.";
    BookingOfNoUser, Attention, "booking_of_no_user",
        "A booking of a user who does not exist: it holds a seat; the doctor can cancel it.";
    BookingLacksFields, Attention, "booking_lacks_fields",
        "A booking without doctor_id, date, start or user_id: it breaks the old backend, and without user_id its user does not see it.";
    BookingFieldsDiffer, Attention, "booking_fields_differ",
        "A booking whose attributes say another doctor, date, start or user than its key: the key holds the seat.";
    DateSpelledOddly, Harmless, "date_spelled_oddly",
        "A booking whose date has no leading zeros: read like any other.";
    SeatUnderTwoSpellings, Harmless, "seat_under_two_spellings",
        "A user's seat that is stored under two spellings of its date: one seat; cancelling takes both rows away.";
    BookingFarAhead, Harmless, "booking_far_ahead",
        "A booking beyond the 15 days that can be booked: it stays; a doctor's list shows 90 days ahead.";
    BookingWithoutTtl, Harmless, "booking_without_ttl",
        "A booking without a ttl: never deleted by itself.";

    ChatUnreadable, Attention, "chat_unreadable",
        "An exchange with the assistant lacks its time, question or answer: not shown.";
    PaymentUnreadable, Attention, "payment_unreadable",
        "A payment without a status, or with an amount that is no number.";
    PaymentOfNobody, Harmless, "payment_of_nobody",
        "A payment that cannot be led back to its payer, as all of the old platform's: shown to nobody.";
    UploadUnfinished, Harmless, "upload_unfinished",
        "An upload that is under way or was left behind: its files are nobody's to see, and swept at their owner's next call.";
    UploadUnreadable, Attention, "upload_unreadable",
        "An upload whose entry cannot be read: its files stay hidden.";

    FileWithoutOwner, Attention, "file_without_owner",
        "A file whose key names no owner: nobody can reach it.";
    FileOfNobody, Attention, "file_of_nobody",
        "A file of a user who does not exist.";
    FileNameOdd, Harmless, "file_name_odd",
        "A file whose name could not be given today (empty, with '/' or '..'): its owner can list and delete it, but a browser may not reach it.";
    DocumentKeyOdd, Harmless, "document_key_odd",
        "An object in the bucket of documents whose key names no doctor and kind: never read.";
    DocumentOfNobody, Attention, "document_of_nobody",
        "A document of a doctor who does not exist.";
    DocumentUnnamed, Harmless, "document_unnamed",
        "A document that its doctor's row does not name: replaced, most likely.";
}

/// How often each kind was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(std::collections::BTreeMap<Finding, Count>);

/// How often one kind was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// All of them.
    pub all: u64,
    /// Those about a date that is past: history.
    pub past: u64,
}

impl Tally {
    pub(super) fn add(&mut self, finding: Finding, is_past: bool) {
        let count = self.0.entry(finding).or_default();
        count.all += 1;
        count.past += u64::from(is_past);
    }

    /// What was found, in the order of the report.
    pub fn counts(&self) -> impl Iterator<Item = (Finding, Count)> {
        self.0.iter().map(|(finding, count)| (*finding, *count))
    }

    /// How much it matters that a kind was found so often: what is past needs nobody.
    pub fn severity(finding: Finding, count: Count) -> Severity {
        if count.all == count.past { Severity::Harmless } else { finding.severity() }
    }

    /// The gravest; `None` when nothing was found.
    pub fn gravest(&self) -> Option<Severity> {
        self.counts().map(|(finding, count)| Self::severity(finding, count)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_a_sentence() {
        let mut names: Vec<_> = Finding::ALL.iter().map(|finding| finding.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Finding::ALL.len());
        assert!(Finding::ALL.iter().all(|finding| finding.sentence().ends_with('.')));
    }

    #[test]
    fn what_is_past_is_history() {
        let mut tally = Tally::default();
        assert_eq!(tally.gravest(), None);
        tally.add(Finding::SlotAboveFive, true);
        assert_eq!(tally.gravest(), Some(Severity::Harmless));
        tally.add(Finding::SlotAboveFive, false);
        assert_eq!(tally.gravest(), Some(Severity::Attention));
    }
}
