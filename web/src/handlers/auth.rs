//! Signing up, logging in and out.

use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use persistence::AccountKind;
use serde::{Deserialize, Serialize};

use crate::auth::{Caller, TOKEN_LIFE, expired_session, session};
use crate::error::ApiError;
use crate::handlers::{parse_doctor, parse_user};
use crate::json::{JsonBody, JsonBodyOrNothing};
use crate::peer::Peer;
use crate::services::{Person, SignUp, parse_email};
use crate::state::AppState;

#[derive(Deserialize)]
struct UserSignUp {
    username: String,
    email: String,
    password: String,
    #[serde(rename = "phoneNumber")]
    phone: String,
    location: Option<String>,
}

#[derive(Deserialize)]
struct DoctorSignUp {
    doctorname: String,
    email: String,
    password: String,
    #[serde(rename = "phoneNumber")]
    phone: String,
    location: Option<String>,
}

#[derive(Deserialize)]
struct LogIn {
    email: String,
    password: String,
}

#[derive(Deserialize)]
struct LogOut {}

/// A person, under the name of what it is.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Shown {
    User { name: String, email: String },
    Doctor { name: String, email: String },
}

#[derive(Serialize)]
pub(crate) struct SignedUp {
    message: &'static str,
    #[serde(flatten)]
    person: Shown,
}

#[derive(Serialize)]
struct LoggedIn {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    #[serde(flatten)]
    person: Shown,
}

#[derive(Serialize)]
struct LoggedOut {
    message: &'static str,
}

impl Shown {
    fn new(kind: AccountKind, Person { name, email }: Person) -> Self {
        match kind {
            AccountKind::User => Self::User { name, email },
            AccountKind::Doctor => Self::Doctor { name, email },
        }
    }
}

/// Creates a patient's account.
pub(crate) async fn sign_up_user(app: Data<AppState>, body: JsonBody) -> Result<Json<SignedUp>, ApiError> {
    let UserSignUp { username, email, password, phone, location } = body.parse()?;
    let kind = AccountKind::User;
    let new = SignUp::check(kind, ("username", username), &email, password, phone, location)?;
    let person = Shown::new(kind, app.accounts.sign_up(new).await?);
    Ok(Json(SignedUp { message: "User registered successfully", person }))
}

/// Creates a doctor's account.
pub(crate) async fn sign_up_doctor(app: Data<AppState>, body: JsonBody) -> Result<Json<SignedUp>, ApiError> {
    let DoctorSignUp { doctorname, email, password, phone, location } = body.parse()?;
    let kind = AccountKind::Doctor;
    let new = SignUp::check(kind, ("doctorname", doctorname), &email, password, phone, location)?;
    let person = Shown::new(kind, app.accounts.sign_up(new).await?);
    Ok(Json(SignedUp { message: "Doctor registered. Please complete profile setup.", person }))
}

/// Gives a patient a token.
pub(crate) async fn log_in_user(
    app: Data<AppState>,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    log_in(AccountKind::User, &app, &request, body).await
}

/// Gives a doctor a token.
pub(crate) async fn log_in_doctor(
    app: Data<AppState>,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    log_in(AccountKind::Doctor, &app, &request, body).await
}

async fn log_in(
    kind: AccountKind,
    app: &AppState,
    request: &HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    let LogIn { email, password } = body.parse()?;
    parse_email(&email)?;
    let peer = Peer::of(request)?;
    let person = app.accounts.log_in(kind, &email, &password, peer.address).await?;
    let caller = match kind {
        AccountKind::User => Caller::User(parse_user("email", &person.email)?),
        AccountKind::Doctor => Caller::Doctor(parse_doctor("email", &person.email)?),
    };
    let token = app.tokens.issue(&caller, app.now()).map_err(ApiError::internal)?;
    let cookie = session(token.clone(), peer.over_tls);
    Ok(HttpResponse::Ok().cookie(cookie).json(LoggedIn {
        access_token: token,
        token_type: "bearer",
        expires_in: TOKEN_LIFE.num_seconds(),
        person: Shown::new(kind, person),
    }))
}

/// Makes the browser forget its token, whoever it belongs to.
pub(crate) async fn log_out(request: HttpRequest, body: JsonBodyOrNothing) -> Result<HttpResponse, ApiError> {
    let LogOut {} = body.parse()?;
    let cookie = expired_session(Peer::of(&request)?.over_tls);
    Ok(HttpResponse::Ok().cookie(cookie).json(LoggedOut { message: "Logged out" }))
}
