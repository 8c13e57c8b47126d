//! Signing up and logging in.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::{Clock, UserId, is_ignorable};
use persistence::{Account, AccountKind, AccountsError, CreateError, NewAccount};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Attempt, DeviceId, PasswordError, Passwords, Throttle, Verdict, Verified};
use crate::config::AuthConfig;
use crate::error::ApiError;
use crate::metrics::{self, LogIn};
use crate::peer::Network;
use crate::places::{Bounds, Places, quarter_of};

/// The address under which visitors chat; nobody may own it.
pub(crate) const VISITORS_ADDRESS: &str = "dummy_user@gmail.com";

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';
/// A symbol without dots.
const BRAILLE_BLANK: char = '\u{2800}';

/// Sign-ups that hash their password, or wait for their turn to do so.
const SIGN_UPS: Bounds = Bounds {
    name: "sign_ups",
    at_once: 64,
    of_network: quarter_of(64),
    waiting_max: 64,
    wait: Duration::from_secs(5),
    evicted_after: None,
};

/// Accounts of patients and doctors.
pub(crate) struct Accounts {
    store: persistence::Accounts,
    passwords: Passwords,
    throttle: Option<Throttle>,
    failure_floor: Duration,
    /// Places for sign-ups in the queue of passwords: they must leave room for log-ins.
    newcomers: Places<()>,
    clock: Arc<dyn Clock>,
}

/// What a new account consists of; made by [`SignUp::check`] only.
pub(crate) struct SignUp {
    kind: AccountKind,
    name: String,
    /// As sent: an old account may have it in that case.
    email: String,
    stored_email: String,
    password: String,
    phone: String,
    location: Option<String>,
}

/// What the public may know of an account.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Person {
    /// The name, as given.
    pub(crate) name: String,
    /// The address, as stored: the identity that every other call knows.
    pub(crate) email: String,
}

impl SignUp {
    /// Checks what a newcomer says. `name_field` is what the name is called in the body.
    pub(crate) fn check(
        kind: AccountKind,
        (name_field, name): (&'static str, String),
        email: &str,
        password: String,
        phone: String,
        location: Option<String>,
    ) -> Result<Self, ApiError> {
        let refuse =
            |refused: bool, sentence: String| if refused { Err(ApiError::invalid(sentence)) } else { Ok(()) };
        let is_text =
            |text: &str, max: usize| text.chars().count() <= max && !text.chars().any(char::is_control);
        refuse(
            !is_text(&name, 100) || !is_name(&name),
            format!(
                "'{name_field}' must have 1 to 100 characters, at least one of them visible, and no control characters or \
                 invisible characters"
            ),
        )?;
        parse_email(email)?;
        // New accounts are stored lower-cased, and that spelling must be an address as well.
        let stored_email = email.to_lowercase();
        parse_email(&stored_email)?;
        refuse(stored_email == VISITORS_ADDRESS, "'email' is reserved".to_owned())?;
        // Files of such an account would lie among those of another one.
        refuse(stored_email.contains('/'), "'email' must not contain '/'".to_owned())?;
        refuse(
            !(8..=128).contains(&password.chars().count()),
            "'password' must have 8 to 128 characters".to_owned(),
        )?;
        let is_phone = (4..=20).contains(&phone.len())
            && phone.bytes().all(|byte| byte.is_ascii_digit() || b" +-".contains(&byte));
        refuse(!is_phone, "'phoneNumber' must be 4 to 20 digits, spaces, '+' or '-'".to_owned())?;
        refuse(
            location.as_deref().is_some_and(|location| !is_text(location, 200)),
            "'location' must have at most 200 characters and no control characters".to_owned(),
        )?;
        Ok(Self { kind, name, email: email.to_owned(), stored_email, password, phone, location })
    }
}

/// Whether a name shows all that it holds. Joiners and variation selectors are invisible, but Indic scripts and emoji need
/// them: one may follow a character outside ASCII, to which it gives its form.
fn is_name(name: &str) -> bool {
    let is_visible = |c: char| !c.is_whitespace() && !is_ignorable(c) && c != BRAILLE_BLANK;
    let takes_form = |c: char| !c.is_ascii() && is_visible(c);
    let is_selector = |c: char| ('\u{fe00}'..='\u{fe0f}').contains(&c);
    let mut before = ' ';
    let shows_all = name.chars().all(|c| {
        let fits = match c {
            ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER => takes_form(before) || is_selector(before),
            c if is_selector(c) => takes_form(before),
            c => !is_ignorable(c),
        };
        before = c;
        fits
    });
    shows_all && name.chars().any(is_visible)
}

/// Checks an address; which kind of account it is for makes no difference.
pub(crate) fn parse_email(text: &str) -> Result<UserId, ApiError> {
    UserId::parse(text).map_err(|error| ApiError::invalid(format!("'email' {error}")))
}

impl Accounts {
    /// Accounts in this store. Computes a password hash.
    pub(crate) fn new(
        store: persistence::Accounts,
        config: &AuthConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PasswordError> {
        Ok(Self {
            store,
            passwords: Passwords::new(config.passwords)?,
            throttle: config.throttle.map(Throttle::new),
            failure_floor: config.failure_floor,
            newcomers: Places::new(SIGN_UPS),
            clock,
        })
    }

    /// Creates an account. Of several at once for one address exactly one wins.
    pub(crate) async fn sign_up(&self, new: SignUp, network: Network) -> Result<Person, ApiError> {
        let SignUp { kind, name, email, stored_email, password, phone: phone_number, location } = new;
        // A look first: an address that is taken costs no hash.
        if self.find(kind, &email).await?.is_some() {
            return Err(ApiError::EmailTaken(kind));
        }
        let place = self.newcomers.take((), usize::MAX, network).await?;
        let password_hash = self.passwords.hash(&password, network).await?;
        drop(place);
        let person = Person { name: name.clone(), email: stored_email };
        // It looks once more at either spelling; an old account has the first of them.
        let email = with_plain_domain(&email).unwrap_or(email);
        let account = NewAccount { kind, email, name, password_hash, phone_number, location };
        match self.store.create(account).await {
            Ok(()) => Ok(person),
            Err(CreateError::Taken) => Err(ApiError::EmailTaken(kind)),
            Err(CreateError::Store(AccountsError::Unavailable(_))) => Err(ApiError::OutcomeUnknown),
            Err(CreateError::Store(error @ AccountsError::Refused(_))) => Err(error.into()),
        }
    }

    /// Whose account it is, if the password is right. What goes wrong otherwise takes the same time and says the same,
    /// whether or not there is an account.
    pub(crate) async fn log_in(
        &self,
        kind: AccountKind,
        email: &str,
        password: &str,
        (peer, device): (IpAddr, Option<DeviceId>),
    ) -> Result<Person, ApiError> {
        let attempt = match &self.throttle {
            Some(throttle) => Some(
                throttle
                    .admit(kind, email, peer, device, self.clock.now())
                    .inspect_err(|_| metrics::logged_in(LogIn::Throttled))?,
            ),
            None => None,
        };
        let network = Network::of(peer);
        match self.check(kind, email, password, network).await {
            Ok((Some(account), Verified { verdict, .. })) => {
                metrics::logged_in(LogIn::Right);
                attempt.into_iter().for_each(Attempt::succeeded);
                if verdict == Verdict::RightButOld {
                    self.renew_hash(kind, &account, password, network).await;
                }
                Ok(Person { name: account.name, email: account.email })
            }
            Ok((None, Verified { begun, .. })) => {
                metrics::logged_in(LogIn::Wrong);
                drop(attempt);
                // From its turn on: what the queue took before tells nothing.
                tokio::time::sleep_until(begun + self.failure_floor).await;
                Err(ApiError::InvalidCredentials)
            }
            Err(error) => {
                metrics::logged_in(LogIn::Unanswered);
                attempt.into_iter().for_each(Attempt::withdrawn);
                Err(error)
            }
        }
    }

    async fn check(
        &self,
        kind: AccountKind,
        email: &str,
        password: &str,
        network: Network,
    ) -> Result<(Option<Account>, Verified), ApiError> {
        let account = self.find(kind, email).await?;
        let stored = account.as_ref().and_then(|account| account.password_hash.as_deref());
        let verified = self.passwords.verify(password, stored, network).await?;
        Ok((account.filter(|_| verified.verdict != Verdict::Wrong), verified))
    }

    /// Looks under the address as sent, in lower case, and as the old platform kept it: with only what is behind the `@`
    /// in lower case.
    async fn find(&self, kind: AccountKind, email: &str) -> Result<Option<Account>, AccountsError> {
        let found = self.store.find(kind, email).await?;
        match with_plain_domain(email) {
            Some(other) if found.is_none() => self.store.find(kind, &other).await,
            Some(_) | None => Ok(found),
        }
    }

    /// Replaces a hash of the old platform. If that fails, the next log-in tries again.
    async fn renew_hash(&self, kind: AccountKind, account: &Account, password: &str, network: Network) {
        let Some(old) = account.password_hash.as_deref() else { return };
        let renewed = match self.passwords.hash(password, network).await {
            Ok(new) => {
                let replaced = self.store.replace_password(kind, &account.email, old, &new).await;
                replaced.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = renewed {
            tracing::warn!(error, "an old password hash was not replaced; the next log-in tries again");
        }
    }
}

/// The address with what is behind the `@` in lower case, if it was not.
fn with_plain_domain(email: &str) -> Option<String> {
    let (local, domain) = email.rsplit_once('@')?;
    let plain = domain.to_lowercase();
    (plain != domain).then(|| format!("{local}@{plain}"))
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::Failed(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, email: &str, password: &str, phone: &str) -> Result<String, String> {
        let name = ("username", name.to_owned());
        SignUp::check(AccountKind::User, name, email, password.to_owned(), phone.to_owned(), None)
            .map(|new| new.stored_email)
            .map_err(|error| String::from_utf8(error.body(None)).unwrap())
    }

    #[test]
    fn a_new_address_is_stored_in_lower_case() {
        assert_eq!(check("Ada", "Ada@X.com", "12345678", "+91 98-76").as_deref(), Ok("ada@x.com"));
    }

    #[test]
    fn the_old_platform_kept_the_case_of_what_is_before_the_at() {
        assert_eq!(with_plain_domain("Ada.L@X.Com").as_deref(), Some("Ada.L@x.com"));
        assert_eq!(with_plain_domain("Ada.L@x.com"), None);
    }

    #[test]
    fn names_are_welcome_in_every_script() {
        for name in ["अनु", "李小龙", "Ólafur", "א", "👩‍⚕️ Zoë", &"న".repeat(100)] {
            assert!(check(name, "a@x.com", "12345678", "1234").is_ok(), "{name}");
        }
        for name in ["", " ", "a\nb", "a\0", "\u{85}", "\u{2800}", "\u{3000} ", &"x".repeat(101)] {
            assert!(check(name, "a@x.com", "12345678", "1234").is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_name_holds_nothing_invisible_but_what_its_script_needs() {
        // Hindi with an explicit virama, Persian, an old Malayalam chillu, a family of emoji.
        for name in ["क्\u{200c}ष", "می\u{200c}خواهم", "അവന\u{d4d}\u{200d}", "👩\u{200d}❤\u{fe0f}\u{200d}👩"]
        {
            assert!(check(name, "a@x.com", "12345678", "1234").is_ok(), "{name}");
        }
        for hidden in "\u{200b}\u{ad}\u{202e}\u{2066}\u{61c}\u{feff}\u{3164}\u{e0041}".chars() {
            for name in
                [format!("Ada{hidden}"), format!("{hidden}अनु"), format!("A{hidden}da"), hidden.to_string()]
            {
                assert!(check(&name, "a@x.com", "12345678", "1234").is_err(), "{name:?}");
            }
        }
        for name in ["Ada\u{200d}", "\u{200c}", "\u{200d}अनु", "अनु \u{200d}", "\u{fe0f}", "अ\u{200d}\u{200d}"]
        {
            assert!(check(name, "a@x.com", "12345678", "1234").is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_name_of_its_field() {
        for (email, password, phone, field) in [
            ("a#b@x.com", "12345678", "1234", "email"),
            ("Dummy_User@gmail.com", "12345678", "1234", "email"),
            ("a/b@x.com", "12345678", "1234", "email"),
            ("a@x/y.com", "12345678", "1234", "email"),
            ("a@x.com", "1234567", "1234", "password"),
            ("a@x.com", &"x".repeat(129), "1234", "password"),
            ("a@x.com", "12345678", "123", "phoneNumber"),
            ("a@x.com", "12345678", "12a45", "phoneNumber"),
            ("a@x.com", "12345678", "١٢٣٤", "phoneNumber"),
        ] {
            let refusal = check("Ada", email, password, phone).unwrap_err();
            assert!(refusal.contains(&format!("'{field}'")), "{refusal}");
        }
        assert!(check("Ada", "a@x.com", &"अ".repeat(128), "1234").is_ok(), "characters, not bytes");
    }
}
