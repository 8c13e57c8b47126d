//! Signing up, logging in and out.

use actix_web::cookie::Cookie;
use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use engine::SystemChance;
use persistence::AccountKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::cookies::{self, DEVICE_COOKIE};
use crate::auth::{Caller, TOKEN_LIFE};
use crate::error::ApiError;
use crate::handlers::{parse_doctor, parse_user};
use crate::json::{JsonBody, JsonBodyOrNothing};
use crate::openapi::fields;
use crate::peer::{Network, Peer};
use crate::services::{Person, SignUp, parse_email};
use crate::state::AppState;

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({
    "username": "Ada", "email": "ada@example.com", "password": "correct horse", "phoneNumber": "+91 98765 43210"
})))]
struct UserSignUp {
    #[schema(schema_with = fields::person)]
    username: String,
    #[schema(schema_with = fields::email)]
    email: String,
    #[schema(schema_with = fields::new_password)]
    password: String,
    #[serde(rename = "phoneNumber")]
    #[schema(schema_with = fields::phone)]
    phone: String,
    #[schema(schema_with = fields::location)]
    location: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({
    "doctorname": "Dr. Asha Rao", "email": "asha@clinic.example", "password": "correct horse",
    "phoneNumber": "+91 98765 43210", "location": "Pune"
})))]
struct DoctorSignUp {
    #[schema(schema_with = fields::person)]
    doctorname: String,
    #[schema(schema_with = fields::email)]
    email: String,
    #[schema(schema_with = fields::new_password)]
    password: String,
    #[serde(rename = "phoneNumber")]
    #[schema(schema_with = fields::phone)]
    phone: String,
    #[schema(schema_with = fields::location)]
    location: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"email": "ada@example.com", "password": "correct horse"})))]
struct LogIn {
    #[schema(schema_with = fields::email)]
    email: String,
    #[schema(schema_with = fields::password)]
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({})))]
struct LogOut {}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "message": "User registered successfully", "user": {"name": "Ada", "email": "ada@example.com"}
})))]
pub(crate) struct UserSignedUp {
    message: &'static str,
    user: Person,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "message": "Doctor registered. Please complete profile setup.",
    "doctor": {"name": "Dr. Asha Rao", "email": "asha@clinic.example"}
})))]
pub(crate) struct DoctorSignedUp {
    message: &'static str,
    doctor: Person,
}

/// A token, which the cookie carries as well.
#[derive(Serialize, ToSchema)]
struct Session {
    access_token: String,
    #[schema(pattern = "^bearer$")]
    token_type: &'static str,
    /// In seconds.
    expires_in: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "access_token": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", "token_type": "bearer", "expires_in": 43200,
    "user": {"name": "Ada", "email": "ada@example.com"}
})))]
struct UserLoggedIn {
    #[serde(flatten)]
    session: Session,
    user: Person,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "access_token": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", "token_type": "bearer", "expires_in": 43200,
    "doctor": {"name": "Dr. Asha Rao", "email": "asha@clinic.example"}
})))]
struct DoctorLoggedIn {
    #[serde(flatten)]
    session: Session,
    doctor: Person,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"message": "Logged out"})))]
struct LoggedOut {
    message: &'static str,
}

/// Creates a patient's account.
#[utoipa::path(post, path = "/auth/signupUser", tag = "auth", security(()), request_body = UserSignUp, responses(
    (status = 200, body = UserSignedUp),
    (status = 409, description = "email_taken")))]
pub(crate) async fn sign_up_user(
    app: Data<AppState>,
    network: Network,
    body: JsonBody,
) -> Result<Json<UserSignedUp>, ApiError> {
    let UserSignUp { username, email, password, phone, location } = body.parse()?;
    let new = SignUp::check(AccountKind::User, ("username", username), &email, password, phone, location)?;
    let user = app.accounts.sign_up(new, network).await?;
    Ok(Json(UserSignedUp { message: "User registered successfully", user }))
}

/// Creates a doctor's account.
#[utoipa::path(post, path = "/auth/signupDoctor", tag = "auth", security(()), request_body = DoctorSignUp, responses(
    (status = 200, body = DoctorSignedUp),
    (status = 409, description = "email_taken")))]
pub(crate) async fn sign_up_doctor(
    app: Data<AppState>,
    network: Network,
    body: JsonBody,
) -> Result<Json<DoctorSignedUp>, ApiError> {
    let DoctorSignUp { doctorname, email, password, phone, location } = body.parse()?;
    let kind = AccountKind::Doctor;
    let new = SignUp::check(kind, ("doctorname", doctorname), &email, password, phone, location)?;
    let doctor = app.accounts.sign_up(new, network).await?;
    app.profiles.changed(&doctor.email).await;
    Ok(Json(DoctorSignedUp { message: "Doctor registered. Please complete profile setup.", doctor }))
}

/// Gives a patient a token.
#[utoipa::path(post, path = "/auth/loginUser", tag = "auth", security(()), request_body = LogIn, responses(
    (status = 200, body = UserLoggedIn, headers(("Set-Cookie" = String, description = "The session"))),
    (status = 401, description = "invalid_credentials"),
    (status = 429, description = "too_many_attempts")))]
pub(crate) async fn log_in_user(
    app: Data<AppState>,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    let (cookies, session, user) = log_in(AccountKind::User, &app, &request, body).await?;
    Ok(with_cookies(cookies).json(UserLoggedIn { session, user }))
}

/// Gives a doctor a token.
#[utoipa::path(post, path = "/auth/loginDoctor", tag = "auth", security(()), request_body = LogIn, responses(
    (status = 200, body = DoctorLoggedIn, headers(("Set-Cookie" = String, description = "The session"))),
    (status = 401, description = "invalid_credentials"),
    (status = 429, description = "too_many_attempts")))]
pub(crate) async fn log_in_doctor(
    app: Data<AppState>,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    let (cookies, session, doctor) = log_in(AccountKind::Doctor, &app, &request, body).await?;
    Ok(with_cookies(cookies).json(DoctorLoggedIn { session, doctor }))
}

async fn log_in(
    kind: AccountKind,
    app: &AppState,
    request: &HttpRequest,
    body: JsonBody,
) -> Result<(Vec<Cookie<'static>>, Session, Person), ApiError> {
    let LogIn { email, password } = body.parse()?;
    parse_email(&email)?;
    let peer = Peer::of(request)?;
    let known = |cookie| app.devices.read(cookie, kind, &email, app.now());
    let device = cookies::named(request.headers(), DEVICE_COOKIE).find_map(known);
    let person = app.accounts.log_in(kind, &email, &password, (peer.address, device)).await?;
    let caller = match kind {
        AccountKind::User => Caller::User(parse_user("email", &person.email)?),
        AccountKind::Doctor => Caller::Doctor(parse_doctor("email", &person.email)?),
    };
    let access_token = app.tokens.issue(&caller, app.now()).map_err(ApiError::internal)?;
    let device = app.devices.issue(kind, &person.email, device, &SystemChance, app.now());
    let mut cookies = cookies::session(&access_token, peer.over_tls);
    cookies.push(cookies::device(device.map_err(ApiError::internal)?, peer.over_tls));
    let expires_in = TOKEN_LIFE.num_seconds();
    Ok((cookies, Session { access_token, token_type: "bearer", expires_in }, person))
}

/// Makes the browser forget its token, whoever it belongs to.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", security(()), request_body = Option<LogOut>, responses(
    (status = 200, body = LoggedOut, headers(("Set-Cookie" = String, description = "An empty session")))))]
pub(crate) async fn log_out(request: HttpRequest, body: JsonBodyOrNothing) -> Result<HttpResponse, ApiError> {
    let LogOut {} = body.parse()?;
    let cookies = cookies::expired_session(Peer::of(&request)?.over_tls);
    Ok(with_cookies(cookies).json(LoggedOut { message: "Logged out" }))
}

fn with_cookies(cookies: Vec<Cookie<'static>>) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    for cookie in cookies {
        response.cookie(cookie);
    }
    response
}
