//! Slowing of clients that show wrong codes or tokens.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::MutexExt as _;

/// Failures that cost an address nothing: a person mistypes.
const FREE_FAILURES: u32 = 5;
/// First wait behind the free failures; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Quiet time after which an address starts anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(15 * 60);
/// Maximum of addresses that are remembered; a new one replaces the one that was quiet for longest.
const MAX_ADDRESSES: usize = 4096;

/// Failures of one address.
#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

/// Failures to sign in, by address. The addresses of one /64 of IPv6 count as one, since a client can
/// choose among them.
#[derive(Debug, Default)]
pub struct LoginAttempts(Mutex<HashMap<IpAddr, Failures>>);

impl LoginAttempts {
    /// Returns the time that `address` has to wait before it may try again.
    pub fn wait(&self, address: IpAddr, now: Instant) -> Duration {
        let table = self.0.acquire();
        let Some(failures) = table.get(&network_of(address)) else {
            return Duration::ZERO;
        };
        let since = now.saturating_duration_since(failures.last);
        pause_after(failures.count).saturating_sub(since)
    }

    /// Counts a failure, and returns the wait that follows it.
    pub fn failed(&self, address: IpAddr, now: Instant) -> Duration {
        let mut table = self.0.acquire();
        let key = network_of(address);
        if table.len() >= MAX_ADDRESSES && !table.contains_key(&key) {
            let quietest = table.iter().min_by_key(|(_, failures)| failures.last);
            if let Some(quietest) = quietest.map(|(address, _)| *address) {
                table.remove(&quietest);
            }
        }
        let failures = table.entry(key).or_insert(Failures {
            count: 0,
            last: now,
        });
        if now.saturating_duration_since(failures.last) >= FORGIVEN_AFTER {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        pause_after(failures.count)
    }

    /// Forgets the failures of an address that signed in.
    pub fn succeeded(&self, address: IpAddr) {
        self.0.acquire().remove(&network_of(address));
    }
}

fn pause_after(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES) {
        None | Some(0) => Duration::ZERO,
        Some(excess) => {
            let factor = 1_u32.checked_shl(excess - 1).unwrap_or(u32::MAX);
            FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
        }
    }
}

fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_becomes_slow_for_one_address_only() {
        let attempts = LoginAttempts::default();
        let now = Instant::now();
        let guesser: IpAddr = "2001:db8::1".parse().unwrap();
        let sibling: IpAddr = "2001:db8::2".parse().unwrap();
        let other: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..FREE_FAILURES {
            assert_eq!(attempts.failed(guesser, now), Duration::ZERO);
        }
        assert_eq!(attempts.failed(guesser, now), FIRST_WAIT);
        assert_eq!(attempts.failed(sibling, now), FIRST_WAIT * 2);
        assert_eq!(attempts.wait(sibling, now), FIRST_WAIT * 2);
        assert_eq!(attempts.wait(other, now), Duration::ZERO);
        for _ in 0..100 {
            attempts.failed(guesser, now);
        }
        assert_eq!(attempts.wait(guesser, now), LONGEST_WAIT);
        assert_eq!(attempts.wait(guesser, now + LONGEST_WAIT), Duration::ZERO);
        assert_eq!(
            attempts.failed(guesser, now + FORGIVEN_AFTER),
            Duration::ZERO
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let attempts = LoginAttempts::default();
        let now = Instant::now();
        for at in 0..=u32::try_from(MAX_ADDRESSES).unwrap() {
            let address = IpAddr::V4(std::net::Ipv4Addr::from_bits(at));
            attempts.failed(address, now + Duration::from_millis(at.into()));
        }
        assert_eq!(attempts.0.acquire().len(), MAX_ADDRESSES);
    }
}
