//! Decides nothing: the tests of [`super`].

#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

use proptest::prelude::*;

use super::*;

const YEAR: Duration = DAY.saturating_mul(365);

fn at(days: u32) -> Timestamp {
    Timestamp::EPOCH.saturating_add(DAY * (20_000 + days))
}

fn second() -> Duration {
    Duration::from_secs(1)
}

#[test]
fn a_leaf_of_thirty_days_may_be_renewed_from_its_tenth_day_on() {
    assert_eq!(renewal_opens(at(0), at(30)), at(10));
}

#[test]
fn renewals_spread_a_tenth_to_either_side_of_two_thirds_of_life() {
    assert_eq!(renew_at(at(0), at(30), 0), at(18));
    assert_eq!(renew_at(at(0), at(30), u64::MAX), at(22));
    let middle = renew_at(at(0), at(30), u64::MAX / 2);
    assert!(middle.since(at(20)) < second() && at(20).since(middle) < second(), "{middle}");
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let lifetime = DAY * 30;
    assert_eq!(leaf_end(at(0), lifetime, at(365)), Some(at(30)));
    assert_eq!(leaf_end(at(0), lifetime, at(7)), Some(at(7).saturating_sub(AUTHORITY_MARGIN)));
    assert_eq!(leaf_end(at(0), lifetime, at(0).saturating_add(AUTHORITY_MARGIN)), None);
    assert_eq!(leaf_end(at(1), lifetime, at(0)), None);
}

#[test]
fn the_next_authority_is_prepared_a_month_before_the_end_and_signs_a_week_before() {
    let (from, to) = (at(0), at(730));
    let last = |days| to.saturating_sub(DAY * days);
    assert!(!prepare_due(from, to, last(30).saturating_sub(second())));
    assert!(prepare_due(from, to, last(30)));
    assert!(!activate_due(from, to, last(7).saturating_sub(second())));
    assert!(activate_due(from, to, last(7)));
    assert!(
        prepare_due(from, to, at(800)) && activate_due(from, to, at(800)),
        "all the more once it expired"
    );
}

#[test]
fn a_short_lived_authority_gives_way_at_half_and_at_a_sixth_of_its_life() {
    let (from, to) = (at(0), at(12));
    assert!(!prepare_due(from, to, at(6).saturating_sub(second())));
    assert!(prepare_due(from, to, at(6)));
    assert!(!activate_due(from, to, at(10).saturating_sub(second())));
    assert!(activate_due(from, to, at(10)));
}

#[test]
fn a_revocation_list_is_signed_anew_every_day_or_at_half_of_its_life() {
    assert_eq!(list_due(at(0), at(7)), at(1));
    assert_eq!(list_due(at(0), at(1)), at(0).saturating_add(HOUR * 12));
}

#[test]
fn an_expiry_is_warned_of_at_thirty_seven_seven_and_one_days() {
    let said = |left| warning(at(0), at(730), at(730).saturating_sub(left));
    assert_eq!(said(DAY * 30 + second()), None);
    assert_eq!(said(DAY * 30), Some(30));
    assert_eq!(said(DAY * 14 + second()), Some(30));
    assert_eq!(said(DAY * 14), Some(14));
    assert_eq!(said(DAY * 7), Some(7));
    assert_eq!(said(DAY), Some(1));
    assert_eq!(said(second()), Some(1));
    assert_eq!(said(Duration::ZERO), Some(0));
}

#[test]
fn nobody_is_warned_of_a_certificate_that_is_not_to_be_renewed_yet() {
    let said = |left| warning(at(0), at(30), at(30).saturating_sub(DAY * left));
    assert_eq!(said(14), None);
    assert_eq!(said(7), Some(7));
}

#[test]
fn a_system_renews_at_most_once_in_an_hour_or_a_tenth_of_the_lifetime() {
    assert_eq!(renewal_period(DAY * 30), DAY * 3);
    assert_eq!(renewal_period(HOUR * 2), HOUR);
}

#[test]
fn a_token_lasts_a_day_unless_asked_and_three_days_at_most() {
    assert_eq!(token_ttl(Duration::ZERO), Ok(DAY));
    assert_eq!(token_ttl(DAY * 3), Ok(DAY * 3));
    assert_eq!(token_ttl(DAY * 3 + second()).unwrap_err().field, "ttl");
}

#[test]
fn a_clock_that_jumps_a_year_is_not_believed_and_one_that_is_set_right_is() {
    let (before, passed) = (at(400), second());
    let step = Duration::from_secs(90);
    assert_eq!(clock_jump(before, before.saturating_add(passed), passed), None);
    assert_eq!(clock_jump(before, before.saturating_add(step), passed), None);
    assert_eq!(clock_jump(before, before.saturating_sub(step), passed), None);
    assert_eq!(clock_jump(before, before.saturating_add(YEAR + passed), passed), Some(Jump::Ahead(YEAR)));
    assert_eq!(clock_jump(before, before.saturating_sub(YEAR - passed), passed), Some(Jump::Back(YEAR)));
    assert_eq!(clock_jump(before, before.saturating_add(YEAR), YEAR), None, "a year that did pass");
}

#[test]
fn up_to_ten_are_severed_at_once() {
    assert_eq!(wave_delay(9, 10, HOUR, u64::MAX), Duration::ZERO);
    assert!(wave_delay(9, 11, HOUR, 0) > Duration::ZERO);
}

proptest! {
    #[test]
    fn a_leaf_is_renewed_while_it_may_be_and_before_it_ends(
        days in 1_u32..4_000, random in any::<u64>(),
    ) {
        let (from, to) = (at(0), at(days));
        let renewed = renew_at(from, to, random);
        prop_assert!(renewal_opens(from, to) < renewed && renewed < to);
    }

    #[test]
    fn an_authority_never_ends_a_leaf_early_that_was_signed_before_the_next_was_due(
        days in 2_u32..4_000, leaf_hours in 1_u32..400, now_hours in 0_u32..96_000,
    ) {
        // Leaves of at most a sixth of the authority's life, and of a week.
        let (from, to) = (at(0), at(days));
        let lifetime = (HOUR * leaf_hours).min(DAY * days / 6).min(ACTIVATE_LEFT);
        let now = from.saturating_add(HOUR * now_hours);
        prop_assume!(now < to && !activate_due(from, to, now));
        let end = leaf_end(now, lifetime, to).unwrap();
        prop_assert!(now.saturating_add(lifetime).since(end) <= AUTHORITY_MARGIN + second());
    }

    #[test]
    fn many_are_severed_one_after_the_other_within_the_window(
        count in 11_usize..2_000, random in prop::collection::vec(any::<u64>(), 16),
    ) {
        let window = Duration::from_secs(60);
        let mut last = Duration::ZERO;
        for index in 0..count {
            let delay = wave_delay(index, count, window, random[index % random.len()]);
            prop_assert!(last <= delay && delay <= window, "{index} of {count}: {delay:?} after {last:?}");
            last = delay;
        }
    }
}
