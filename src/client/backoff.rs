//! Decides when to try again, and when to give up: exponential delays with
//! jitter, and no second try of what would fail the same way.

use std::time::Duration;

use tonic::{Code, Status};

use crate::base::random;

use super::error::{Error, Refusal, distrust};

/// How to wait between tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first delay, before jitter.
    pub first: Duration,
    /// The longest delay.
    pub longest: Duration,
    /// Tries in a row without progress before giving up; `None`: never give up
    /// on a hub that is merely away.
    pub tries: Option<u32>,
}

impl Backoff {
    /// For calls that someone waits for: gives up after about ten seconds.
    pub const CALL: Self =
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(5), tries: Some(7) };
    /// For streams: a restart of the hub takes a while.
    pub const STREAM: Self =
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(10), tries: Some(15) };
    /// For subscribers that run for years.
    pub const FOREVER: Self = Self { tries: None, ..Self::STREAM };

    /// The delay before try number `n`, counted from 0: half of it fixed, half
    /// drawn by `random`, so that clients cut off together do not return
    /// together.
    #[must_use]
    pub fn delay(&self, n: u32, random: u64) -> Duration {
        let full =
            self.first.saturating_mul(1_u32.checked_shl(n.min(31)).unwrap_or(u32::MAX)).min(self.longest);
        let full = u64::try_from(full.as_micros()).unwrap_or(u64::MAX);
        let half = full / 2;
        let drawn = if half == 0 { 0 } else { random % (half + 1) };
        Duration::from_micros(half + drawn)
    }
}

/// Whether a failed call may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The hub is away or asks to come back.
    Away,
    /// The connection broke without an answer. What the call itself brings
    /// about looks the same, so this is not tried without end.
    Cut,
    /// Trying again would end the same way.
    Final,
}

/// Only what cannot have another outcome for being asked twice is tried again:
/// UNAVAILABLE, and connections that broke without an answer. So is what the
/// hub ends with the certificate of an open connection: nothing was done, and
/// the next connection shows the certificate that lies in the files now. If it
/// is still the old one, the handshake says so, which is final.
pub(super) fn classify(status: &Status) -> Class {
    let source = std::error::Error::source(status);
    // The same certificate will be shown next time.
    if source.is_some_and(|source| distrust(source).is_some()) {
        return Class::Final;
    }
    let local = source.is_some();
    match status.code() {
        Code::Unavailable => Class::Away,
        Code::Cancelled => Class::Cut,
        Code::Unknown | Code::Internal if local => Class::Cut,
        Code::Unauthenticated if is_over(status) => Class::Cut,
        _ => Class::Final,
    }
}

/// Whether the time of the certificate is over that the connection was opened
/// with.
fn is_over(status: &Status) -> bool {
    let reason = Refusal::from_status(status).reason;
    matches!(reason.as_str(), "CERTIFICATE_EXPIRED" | "CERTIFICATE_REVOKED" | "CERTIFICATE_SUPERSEDED")
}

/// Tries of one call or stream since it last made progress.
#[derive(Debug)]
pub(super) struct Tries {
    backoff: Backoff,
    /// Cut connections in a row that are tolerated.
    cuts_allowed: u32,
    made: u32,
    cuts: u32,
}

impl Tries {
    /// Calls allow one cut in a row; streams more, since a hub that is killed
    /// while they reconnect cuts them again.
    pub(super) const fn new(backoff: Backoff, cuts_allowed: u32) -> Self {
        Self { backoff, cuts_allowed, made: 0, cuts: 0 }
    }

    /// Notes that something came through.
    pub(super) const fn progress(&mut self) {
        self.made = 0;
        self.cuts = 0;
    }

    /// How long to wait before the next try, or the error that ends it.
    ///
    /// # Errors
    /// The failure itself, if another try is not allowed or not of use.
    pub(super) fn after(&mut self, status: &Status, hub: &str) -> Result<Duration, Error> {
        self.decide(classify(status), Refusal::from_status(status).retry_after)
            .ok_or_else(|| Error::from_status(status, hub))
    }

    /// The pure part of [`Self::after`].
    pub(super) fn decide(&mut self, class: Class, retry_after: Option<Duration>) -> Option<Duration> {
        match class {
            Class::Final => return None,
            Class::Away => self.cuts = 0,
            Class::Cut => {
                if self.cuts >= self.cuts_allowed {
                    return None;
                }
                self.cuts += 1;
            }
        }
        if self.backoff.tries.is_some_and(|tries| self.made >= tries) {
            return None;
        }
        let delay = self.backoff.delay(self.made, random::u64());
        self.made = self.made.saturating_add(1);
        Some(delay.max(retry_after.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const PLAIN: Backoff =
        Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5), tries: Some(3) };

    #[test]
    fn delays_double_up_to_the_longest() {
        let most = |n| PLAIN.delay(n, 50_000 - 1).as_millis();
        assert_eq!(most(0), 99);
        assert_eq!(PLAIN.delay(1, 100_000).as_millis(), 200);
        assert_eq!(PLAIN.delay(2, 200_000).as_millis(), 400);
        assert_eq!(PLAIN.delay(40, 2_500_000).as_millis(), 5_000);
        assert_eq!(PLAIN.delay(u32::MAX, 0).as_millis(), 2_500);
    }

    #[test]
    fn jitter_stays_within_the_upper_half() {
        for random in [0, 1, 12_345, u64::MAX] {
            let delay = PLAIN.delay(3, random);
            assert!(delay >= Duration::from_millis(400) && delay <= Duration::from_millis(800), "{delay:?}");
        }
    }

    #[test]
    fn a_hub_that_is_away_is_tried_until_the_tries_are_spent() {
        let mut tries = Tries::new(PLAIN, 1);
        for _ in 0..3 {
            assert!(tries.decide(Class::Away, None).is_some());
        }
        assert!(tries.decide(Class::Away, None).is_none());
        tries.progress();
        assert!(tries.decide(Class::Away, None).is_some());
    }

    #[test]
    fn a_cut_connection_is_tried_once_more_and_not_twice() {
        let mut tries = Tries::new(PLAIN, 1);
        assert!(tries.decide(Class::Cut, None).is_some());
        assert!(tries.decide(Class::Cut, None).is_none());
    }

    #[test]
    fn the_hubs_own_delay_is_kept() {
        let mut tries = Tries::new(PLAIN, 1);
        let asked = Duration::from_secs(60);
        assert_eq!(tries.decide(Class::Away, Some(asked)), Some(asked));
    }

    #[test]
    fn a_hub_whose_certificate_is_not_accepted_is_not_tried_again() {
        let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let mut status = Status::unavailable("connect");
        status.set_source(Arc::new(std::io::Error::new(std::io::ErrorKind::InvalidData, refused)));
        assert_eq!(classify(&status), Class::Final);
        assert!(matches!(Error::from_status(&status, "hub:1"), Error::Untrusted { .. }));
    }

    #[test]
    fn a_certificate_that_the_hub_refuses_is_not_shown_again() {
        let refused = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRevoked);
        let mut status = Status::unavailable("connect");
        status.set_source(Arc::new(std::io::Error::new(std::io::ErrorKind::InvalidData, refused)));
        assert_eq!(classify(&status), Class::Final);
    }

    #[test]
    fn a_certificate_whose_time_is_over_is_followed_by_the_one_in_the_files() {
        use tonic_types::{ErrorDetails, StatusExt as _};
        for (reason, class) in [
            ("CERTIFICATE_EXPIRED", Class::Cut),
            ("CERTIFICATE_REVOKED", Class::Cut),
            ("CERTIFICATE_SUPERSEDED", Class::Cut),
            ("PRINCIPAL_UNKNOWN", Class::Final),
        ] {
            let details = ErrorDetails::with_error_info(reason, "luytre", []);
            let status = Status::with_error_details(Code::Unauthenticated, "", details);
            assert_eq!(classify(&status), class, "{reason}");
        }
    }

    #[test]
    fn only_unavailable_and_broken_connections_are_tried_again() {
        let mut broken = Status::unknown("transport error");
        broken.set_source(Arc::new(std::io::Error::other("reset")));
        assert_eq!(classify(&broken), Class::Cut);
        assert_eq!(classify(&Status::unavailable("draining")), Class::Away);
        assert_eq!(classify(&Status::unknown("the hub's own answer")), Class::Final);
        assert_eq!(classify(&Status::internal("fault")), Class::Final);
        assert_eq!(classify(&Status::aborted("displaced")), Class::Final);
        assert_eq!(classify(&Status::unauthenticated("who are you")), Class::Final);
        assert_eq!(classify(&Status::resource_exhausted("quota")), Class::Final);
    }
}
