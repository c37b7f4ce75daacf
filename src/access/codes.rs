//! Codes of links that sign in once. They live in memory: a restart ends them.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::principal::Principal;
use super::secret::{SecretText, secret_digest};
use crate::sync::MutexExt as _;

/// Time for which a code can be used.
pub const CODE_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Maximum of codes that wait to be used; a new one replaces the oldest.
const MAX_CODES: usize = 32;

/// A code that was given out.
#[derive(Debug)]
struct LoginCode {
    digest: blake3::Hash,
    made: Instant,
    principal: Principal,
}

/// The codes that were given out and not used.
#[derive(Debug, Default)]
pub struct LoginCodes(Mutex<Vec<LoginCode>>);

impl LoginCodes {
    /// Makes a code that signs `principal` in.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn make(&self, principal: Principal, now: Instant) -> io::Result<SecretText> {
        let secret = SecretText::random()?;
        let mut codes = self.0.acquire();
        codes.retain(|code| is_fresh(code, now));
        if codes.len() >= MAX_CODES {
            codes.remove(0);
        }
        codes.push(LoginCode {
            digest: secret.digest(),
            made: now,
            principal,
        });
        Ok(secret)
    }

    /// Uses a code up, and returns whom it signs in; `None` if it is unknown, used or too old.
    pub fn redeem(&self, shown: &str, now: Instant) -> Option<Principal> {
        let digest = secret_digest(shown);
        let mut codes = self.0.acquire();
        let at = codes.iter().position(|code| code.digest == digest)?;
        let code = codes.remove(at);
        is_fresh(&code, now).then_some(code.principal)
    }
}

fn is_fresh(code: &LoginCode, now: Instant) -> bool {
    now.saturating_duration_since(code.made) < CODE_LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_once_and_for_ten_minutes() {
        let codes = LoginCodes::default();
        let start = Instant::now();
        let first = codes.make(Principal::owner(), start).unwrap();
        let second = codes.make(Principal::owner(), start).unwrap();
        assert_ne!(first.reveal(), second.reveal());
        assert_eq!(first.reveal().len(), 64);
        assert_eq!(codes.redeem("guess", start), None);
        let later = start + CODE_LIFETIME - Duration::from_secs(1);
        assert_eq!(
            codes.redeem(first.reveal(), later),
            Some(Principal::owner())
        );
        assert_eq!(codes.redeem(first.reveal(), later), None);
        let too_late = start + CODE_LIFETIME;
        assert_eq!(codes.redeem(second.reveal(), too_late), None);
    }

    #[test]
    fn unused_codes_are_bounded() {
        let codes = LoginCodes::default();
        let now = Instant::now();
        let first = codes.make(Principal::owner(), now).unwrap();
        for _ in 0..MAX_CODES {
            codes.make(Principal::owner(), now).unwrap();
        }
        assert_eq!(codes.0.acquire().len(), MAX_CODES);
        assert_eq!(codes.redeem(first.reveal(), now), None);
    }
}
