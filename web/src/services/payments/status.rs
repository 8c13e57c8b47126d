//! How far a payment link or a payment has come. News arrive late, twice and in any order; the order here says which of
//! two states is the later one, and no row ever goes back.

use serde::Deserialize;

/// Razorpay's words for links (`created` to `paid`) and for payments (`created` to `refunded`), and two of ours for links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// Ours: Razorpay is being asked, or did not answer.
    #[serde(skip_deserializing)]
    Creating,
    /// Ours: Razorpay does not make it.
    #[serde(skip_deserializing)]
    Refused,
    Created,
    Failed,
    Authorized,
    PartiallyPaid,
    Cancelled,
    Expired,
    Captured,
    Paid,
    Refunded,
}

impl Status {
    const ALL: [Self; 11] = [
        Self::Creating,
        Self::Refused,
        Self::Created,
        Self::Failed,
        Self::Authorized,
        Self::PartiallyPaid,
        Self::Cancelled,
        Self::Expired,
        Self::Captured,
        Self::Paid,
        Self::Refunded,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Refused => "refused",
            Self::Created => "created",
            Self::Failed => "failed",
            Self::Authorized => "authorized",
            Self::PartiallyPaid => "partially_paid",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Captured => "captured",
            Self::Paid => "paid",
            Self::Refunded => "refunded",
        }
    }

    /// A failed payment can still be authorised late by its bank. A link that is cancelled or has expired stays so,
    /// unless money arrives that was on its way.
    const fn rank(self) -> u8 {
        match self {
            Self::Creating => 0,
            Self::Refused => 1,
            Self::Created => 2,
            Self::Failed => 3,
            Self::Authorized | Self::PartiallyPaid => 4,
            Self::Cancelled | Self::Expired => 5,
            Self::Captured | Self::Paid => 6,
            Self::Refunded => 7,
        }
    }

    /// The states that give way to this one; itself too, so that a repeat may fill in what was not known.
    pub(super) fn replaceable(self) -> Vec<&'static str> {
        let earlier = Self::ALL.into_iter().filter(|other| other.rank() < self.rank() || *other == self);
        earlier.map(Self::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(word: &str) -> Option<Status> {
        serde_json::from_value(word.into()).ok()
    }

    #[test]
    fn a_word_is_read_as_it_is_written_and_ours_are_not_taken_from_others() {
        for status in Status::ALL {
            let ours = matches!(status, Status::Creating | Status::Refused);
            assert_eq!(read(status.as_str()), (!ours).then_some(status));
        }
        assert_eq!(read("pending"), None);
    }

    #[test]
    fn of_two_states_at_most_one_gives_way_to_the_other() {
        for a in Status::ALL {
            assert!(a.replaceable().contains(&a.as_str()));
            for b in Status::ALL.into_iter().filter(|b| *b != a) {
                assert!(!(a.replaceable().contains(&b.as_str()) && b.replaceable().contains(&a.as_str())));
            }
        }
    }

    #[test]
    fn what_is_final_stays() {
        assert!(!Status::Cancelled.replaceable().contains(&"expired"));
        assert!(!Status::Created.replaceable().contains(&"paid"));
        assert!(Status::Paid.replaceable().contains(&"expired"), "money that was on its way has arrived");
        assert!(Status::Authorized.replaceable().contains(&"failed"), "the bank has changed its mind");
    }
}
