//! What every handler is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::HttpRequest;
use actix_web::web::Data;
use chrono::{DateTime, NaiveDate, Utc};
use engine::{Clinic, Clock, DoctorId, Router, Standing, UserId};
use persistence::{Locker, UserBookings};
use tokio::sync::{Notify, watch};

use crate::auth::{Devices, Tokens};
use crate::config::{CorsConfig, ServerConfig};
use crate::error::ApiError;
use crate::limits::Limits;
use crate::metrics::Collector;
use crate::outgoing::Unread;
use crate::places::Places;
use crate::services::{Accounts, Assistant, Audit, Pages, Payments, Profiles, Uploads};

/// The parts that handlers, extractors and middleware share.
pub(crate) struct AppState {
    pub(crate) server: ServerConfig,
    pub(crate) cors: CorsConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) clinic: Clinic,
    pub(crate) tokens: Tokens,
    pub(crate) devices: Devices,
    pub(crate) accounts: Accounts,
    pub(crate) assistant: Assistant,
    pub(crate) audit: Audit,
    pub(crate) collector: Collector,
    pub(crate) payments: Payments,
    pub(crate) profiles: Profiles,
    pub(crate) doctor_pages: Pages,
    pub(crate) router: Router,
    pub(crate) user_bookings: UserBookings,
    pub(crate) locker: Locker,
    /// Places for readers of doctors' lists.
    pub(crate) doctor_lists: Places<DoctorId>,
    /// Places for readers of lockers.
    pub(crate) locker_lists: Places<UserId>,
    pub(crate) uploads: Uploads,
    pub(crate) unread: Unread,
    pub(crate) standing: watch::Receiver<Standing>,
    /// Each connection ends with its next answer.
    pub(crate) taking_leave: AtomicBool,
    pub(crate) stopping: AtomicBool,
    /// Somebody wants this node to hand its doctors over.
    pub(crate) drain: Notify,
}

impl AppState {
    /// The state behind a request, for extractors.
    pub(crate) fn of(request: &HttpRequest) -> Result<&Self, ApiError> {
        let state = request.app_data::<Data<Self>>().map(|data| data.get_ref());
        state.ok_or_else(|| ApiError::internal("the routes were given no state"))
    }

    /// The present instant.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The clinic's civil date.
    pub(crate) fn today(&self) -> NaiveDate {
        self.clinic.today(self.now())
    }

    /// Whether an answer is to be the last on its connection.
    pub(crate) fn is_taking_leave(&self) -> bool {
        self.taking_leave.load(Ordering::Acquire)
    }

    /// Whether new requests are turned away.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
