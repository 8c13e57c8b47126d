//! The booking rules that a deployment chooses.

use std::num::NonZeroU16;

use engine::Rules;
use engine::limits::BOOKINGS_PER_DOCTOR_MAX;

use super::environment::Environment;

/// Reads `KOKORO_BOOKINGS_PER_DOCTOR_MAX` (default 10), of which 0 turns the rule off.
pub(super) fn rules_from_env(env: &mut Environment) -> Rules {
    let chosen = env.parsed("KOKORO_BOOKINGS_PER_DOCTOR_MAX", |text| {
        let number = text.parse().ok().filter(|number: &u16| *number <= BOOKINGS_PER_DOCTOR_MAX);
        number.ok_or_else(|| format!("a whole number from 0 to {BOOKINGS_PER_DOCTOR_MAX}"))
    });
    chosen.map_or_else(Rules::default, |number| Rules { bookings_per_doctor: NonZeroU16::new(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_ten_unless_chosen_and_zero_turns_it_off() {
        let read = |pairs: &[(&str, &str)]| {
            let mut env = Environment::of(pairs);
            let rules = rules_from_env(&mut env);
            env.finish(rules.bookings_per_doctor.map(NonZeroU16::get)).ok()
        };
        assert_eq!(read(&[]), Some(Some(10)));
        for (text, limit) in [
            ("1", Some(Some(1))),
            ("768", Some(Some(768))),
            ("0", Some(None)),
            ("769", None),
            ("-1", None),
            ("ten", None),
        ] {
            assert_eq!(read(&[("KOKORO_BOOKINGS_PER_DOCTOR_MAX", text)]), limit, "{text}");
        }
    }
}
