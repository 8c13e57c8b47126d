//! Devices that have logged in before. A browser keeps a cookie that names it for one account, so that its owner still
//! gets in while a crowd guesses the password (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").

use chrono::{DateTime, TimeDelta, Utc};
use engine::Chance;
use jsonwebtoken::errors::Result as JwtResult;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use persistence::AccountKind;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::token::install_hmac;
use crate::config::{Secret, SigningSecrets};

/// How long a device is known after its last log-in.
pub(crate) const DEVICE_LIFE: TimeDelta = TimeDelta::days(180);

/// Sets the key of device cookies apart from that of sessions, so that neither passes for the other.
const PURPOSE: &[u8] = b"kokoro device cookie";

/// A device that has logged in to the account in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DeviceId(u128);

/// Issues device cookies and reads them back.
pub(crate) struct Devices {
    encoding: EncodingKey,
    decoding: Vec<(DecodingKey, hmac::Key)>,
    signing: hmac::Key,
    validation: Validation,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    /// The account, as a keyed hash: a cookie that lives this long names nobody.
    sub: String,
    jti: String,
    exp: i64,
}

#[cfg(test)]
impl DeviceId {
    pub(super) const fn new(id: u128) -> Self {
        Self(id)
    }
}

impl Devices {
    /// Signs with the first secret, and takes cookies that any of them has signed.
    pub(crate) fn new(secrets: &SigningSecrets) -> Self {
        install_hmac();
        let mut validation = Validation::new(Algorithm::HS256);
        // Expiry is checked by our own clock, which tests set.
        validation.validate_exp = false;
        let derive = |secret: &Secret| {
            let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), PURPOSE);
            (derived, hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
        };
        let (derived, signing) = derive(secrets.signing());
        let decoding = secrets.all().map(derive);
        Self {
            encoding: EncodingKey::from_secret(derived.as_ref()),
            decoding: decoding.map(|(bytes, key)| (DecodingKey::from_secret(bytes.as_ref()), key)).collect(),
            signing,
            validation,
        }
    }

    /// The cookie's value for a device that has just logged in. One that was known stays the same device.
    pub(crate) fn issue(
        &self,
        kind: AccountKind,
        email: &str,
        known: Option<DeviceId>,
        chance: &dyn Chance,
        now: DateTime<Utc>,
    ) -> JwtResult<String> {
        let DeviceId(id) = known.unwrap_or_else(|| DeviceId(chance.bits()));
        let claims = Claims {
            sub: account(&self.signing, kind, email),
            jti: format!("{id:032x}"),
            exp: (now + DEVICE_LIFE).timestamp(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }

    /// The device, if this cookie names one that has logged in to the account.
    pub(crate) fn read(
        &self,
        cookie: &str,
        kind: AccountKind,
        email: &str,
        now: DateTime<Utc>,
    ) -> Option<DeviceId> {
        let (claims, key) = self.decoding.iter().find_map(|(decoding, key)| {
            let token = jsonwebtoken::decode::<Claims>(cookie, decoding, &self.validation).ok()?;
            Some((token.claims, key))
        })?;
        let is_good = claims.exp > now.timestamp() && claims.sub == account(key, kind, email);
        is_good.then(|| u128::from_str_radix(&claims.jti, 16).ok().map(DeviceId))?
    }
}

fn account(key: &hmac::Key, kind: AccountKind, email: &str) -> String {
    let kind = match kind {
        AccountKind::User => "user",
        AccountKind::Doctor => "doctor",
    };
    let tag = hmac::sign(key, format!("{kind}#{}", email.to_lowercase()).as_bytes());
    hex::encode(&tag.as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use engine::SeededChance;

    use super::*;
    use crate::auth::Tokens;

    fn secret(byte: u8) -> SigningSecrets {
        Secret::new(vec![byte; 32]).unwrap().into()
    }

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    #[test]
    fn a_device_is_known_for_its_account_only_and_for_half_a_year() {
        let devices = Devices::new(&secret(1));
        let (user, chance) = (AccountKind::User, SeededChance::new(1));
        let cookie = devices.issue(user, "Ada@x.com", None, &chance, NOW).unwrap();
        let device = devices.read(&cookie, user, "ada@x.com", NOW);
        assert!(device.is_some());
        assert_eq!(devices.read(&cookie, AccountKind::Doctor, "ada@x.com", NOW), None);
        assert_eq!(devices.read(&cookie, user, "bob@x.com", NOW), None);
        assert_eq!(devices.read(&cookie, user, "ada@x.com", NOW + DEVICE_LIFE), None);
        assert_eq!(Devices::new(&secret(2)).read(&cookie, user, "ada@x.com", NOW), None);
        let renewed = devices.issue(user, "ada@x.com", device, &chance, NOW + TimeDelta::days(1)).unwrap();
        assert_eq!(devices.read(&renewed, user, "ada@x.com", NOW + DEVICE_LIFE), device);
        let another = devices.issue(user, "ada@x.com", None, &chance, NOW).unwrap();
        assert_ne!(devices.read(&another, user, "ada@x.com", NOW), device);
        for text in ["", "a", "a.b.c", &cookie[1..], &cookie[..cookie.len() - 1]] {
            assert_eq!(devices.read(text, user, "ada@x.com", NOW), None, "{text}");
        }
    }

    #[test]
    fn a_cookie_outlives_the_change_of_its_secret() {
        let (user, chance) = (AccountKind::User, SeededChance::new(1));
        let both = SigningSecrets::parse(&format!("{},{}", "n".repeat(32), "o".repeat(32))).unwrap();
        let old = Devices::new(&Secret::new(vec![b'o'; 32]).unwrap().into());
        let cookie = old.issue(user, "ada@x.com", None, &chance, NOW).unwrap();
        assert!(Devices::new(&both).read(&cookie, user, "ada@x.com", NOW).is_some());
    }

    #[test]
    fn a_device_cookie_is_no_session_and_a_session_is_no_device_cookie() {
        let (devices, tokens) = (Devices::new(&secret(1)), Tokens::new(&secret(1)));
        let chance = SeededChance::new(1);
        let cookie = devices.issue(AccountKind::User, "ada@x.com", None, &chance, NOW).unwrap();
        assert!(tokens.read(&cookie, NOW).is_err());
        let caller = crate::auth::Caller::User(engine::UserId::parse("ada@x.com").unwrap());
        let session = tokens.issue(&caller, NOW).unwrap();
        assert_eq!(devices.read(&session, AccountKind::User, "ada@x.com", NOW), None);
    }
}
