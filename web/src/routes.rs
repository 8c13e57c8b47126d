//! Every URL on one screen.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::guard::{Any, Get, Head};
use actix_web::middleware::from_fn;
use actix_web::web::{Data, ServiceConfig, post, resource, route};
use actix_web::{Error, FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder};

use crate::config::CHAT_TIMEOUT;
use crate::error::ApiError;
use crate::guard::{self, AnswerTimeout};
use crate::handlers::{
    audit, auth, chat, cluster, docs, doctor_bookings, doctor_list, doctors_service, health, medilocker,
    metrics, payment, profiles,
};
use crate::limits::Costly;
use crate::metrics::Route;
use crate::services::UPLOAD_BODY_LIMIT;
use crate::static_files::{self, StaticFiles};

/// The process lives.
pub(crate) const HEALTHZ: &str = "/healthz";
/// The process can book.
pub(crate) const READYZ: &str = "/readyz";

/// Prometheus' metrics.
const METRICS: &str = "/metrics";
/// The nodes of the cluster.
const CLUSTER: &str = "/cluster";
/// The order to hand doctors over.
const DRAIN: &str = "/cluster/drain";

/// The calls that `KOKORO_ADMIN_LISTEN` takes off the public address.
pub(crate) const ADMIN: [&str; 3] = [METRICS, CLUSTER, DRAIN];

/// What Razorpay reports to.
pub(crate) const WEBHOOK: &str = "/payment/webhook";

/// Second names of calls, which the frontend uses as well.
pub(crate) const ALIASES: [(&str, &str); 5] = [
    ("/auth/signupUser", "/auth/user/signup"),
    ("/auth/signupDoctor", "/auth/doctor/signup"),
    ("/auth/loginUser", "/auth/user/login"),
    ("/auth/loginDoctor", "/auth/doctor/login"),
    ("/doctorsService/completeProfile", "/doctorsService/updateProfile"),
];

/// First parts of the paths of the API. A request there that is no browser's navigation is a mistaken call, which is refused
/// and not answered with a page.
pub(crate) const API_FOLDERS: [&str; 14] = [
    "auth",
    "doctorsService",
    "doctorBookings",
    "medilocker",
    "chat",
    "process-payment",
    "payment",
    "audit",
    "openapi.json",
    "docs",
    "healthz",
    "readyz",
    "metrics",
    "cluster",
];

/// Adds every call.
pub(crate) fn all(config: &mut ServiceConfig) {
    config
        // seats: first, for a path is compared with one route after the other
        .service(posted("/doctorBookings/book", doctor_bookings::book))
        .service(posted("/doctorBookings/cancel", doctor_bookings::cancel))
        .service(posted("/doctorBookings/available", doctor_bookings::available))
        .service(posted("/doctorBookings/user", doctor_bookings::user))
        .service(posted("/doctorBookings/fetchBookings", doctor_bookings::fetch_bookings))
        // auth
        .service(posted("/auth/signupUser", auth::sign_up_user).app_data(Costly::SignUp))
        .service(posted("/auth/signupDoctor", auth::sign_up_doctor).app_data(Costly::SignUp))
        .service(posted("/auth/loginUser", auth::log_in_user).app_data(Costly::LogIn))
        .service(posted("/auth/loginDoctor", auth::log_in_doctor).app_data(Costly::LogIn))
        .service(posted("/auth/logout", auth::log_out))
        // what doctors publish
        .service(
            posted("/doctorsService/completeProfile", profiles::complete_profile)
                .app_data(profiles::BODY_LIMIT)
                .app_data(Costly::Upload),
        )
        .service(posted("/doctorsService/fetchDoctors", doctor_list::fetch_doctors))
        .service(posted("/doctorsService/subscribe", profiles::subscribe))
        .service(posted("/doctorsService/setSlots", doctors_service::set_slots))
        .service(posted("/doctorsService/updateSlot", doctors_service::update_slot))
        // the assistant
        .service(posted("/chat", chat::chat).app_data(AnswerTimeout(CHAT_TIMEOUT)))
        .service(read("/chat/history/{user_id}", chat::history))
        // payments
        .service(posted("/process-payment", payment::process_payment).app_data(Costly::Payment))
        .service(
            posted(WEBHOOK, payment::webhook)
                .app_data(Costly::Webhook)
                .app_data(payment::EVENT_LIMIT)
                .app_data(payment::EVENT_TIMEOUT),
        )
        // who looked at what
        .service(posted("/audit/mine", audit::mine))
        // patients' files
        .service(
            posted("/medilocker/upload", medilocker::upload)
                .app_data(UPLOAD_BODY_LIMIT)
                .app_data(Costly::Upload),
        )
        .service(posted("/medilocker/fetch", medilocker::fetch))
        .service(posted("/medilocker/download", medilocker::download))
        .service(posted("/medilocker/delete", medilocker::delete))
        // what all this is
        .service(read("/openapi.json", docs::document))
        .service(read("/docs", docs::entrance))
        .service(read("/docs/{file:[^/]*}", docs::page));
}

/// Adds what is for whoever watches the process.
pub(crate) fn watch(config: &mut ServiceConfig) {
    config.service(read(HEALTHZ, health::healthz)).service(read(READYZ, health::readyz));
}

/// Adds what is for those who run the program.
pub(crate) fn admin(config: &mut ServiceConfig) {
    config
        .service(read(METRICS, metrics::all))
        .service(read(CLUSTER, cluster::show))
        .service(posted(DRAIN, cluster::drain));
}

/// Adds what no route answers: a frontend, if there is one.
pub(crate) fn rest(config: &mut ServiceConfig, files: Option<Data<StaticFiles>>) {
    match files {
        Some(files) => config.app_data(files).default_service(route().to(static_files::serve)),
        None => config.default_service(route().to(nothing_here)),
    };
}

/// A route with its own data and the bounds that hold for all.
trait Bounded:
    ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    > + 'static
{
}

impl<T> Bounded for T where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<BoxBody>,
            Error = Error,
            InitError = (),
        > + 'static
{
}

/// A call under each of its names: POST, and a clear answer to any other method. What it is allowed beyond the usual is
/// its `app_data`: `BodyLimit`, `AnswerTimeout`; and what it costs: `Costly`.
fn posted<F, Args>(path: &'static str, handler: F) -> Resource<impl Bounded>
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let aliases = ALIASES.into_iter().filter(|(name, _)| *name == path).map(|(_, alias)| alias);
    let names: Vec<&str> = std::iter::once(path).chain(aliases).collect();
    let call = resource(names).route(post().to(handler)).default_service(route().to(post_only));
    call.app_data(Route::new(path)).wrap(from_fn(guard::bound))
}

fn read<F, Args>(path: &'static str, handler: F) -> Resource<impl Bounded>
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let get = route().guard(Any(Get()).or(Head())).to(handler);
    let call = resource(path).route(get).default_service(route().to(get_only));
    call.app_data(Route::new(path)).wrap(from_fn(guard::bound))
}

async fn nothing_here() -> Result<&'static str, ApiError> {
    Err(ApiError::PathNotFound)
}

/// Answers another method than POST. A browser that navigates to the path of a call wants the frontend's page of that path.
async fn post_only(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let files = request.app_data::<Data<StaticFiles>>().filter(|_| static_files::is_navigation(&request));
    match files.cloned() {
        Some(files) => static_files::serve(files, request).await,
        None => Err(ApiError::MethodNotAllowed("POST")),
    }
}

async fn get_only() -> Result<&'static str, ApiError> {
    Err(ApiError::MethodNotAllowed("GET, HEAD"))
}
