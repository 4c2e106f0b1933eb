//! What the table of connections promises about places and sources.

use super::*;

fn limits() -> Limits {
    Limits {
        max_connections: 3,
        max_pending: 3,
        max_connections_per_source: 2,
        max_handshakes_per_source: 2,
        ..Limits::default()
    }
}

#[test]
fn one_source_cannot_take_every_place() {
    let many = usize::MAX;
    for limits in [
        Limits { max_connections_per_source: many, ..limits() },
        Limits { max_handshakes_per_source: many, ..limits() },
    ] {
        let all = Arc::new(Connections::default());
        let greedy = IpAddr::from([192, 0, 2, 1]);
        let _two = [all.admit(greedy, &limits).unwrap(), all.admit(greedy, &limits).unwrap()];
        assert_eq!(all.admit(greedy, &limits).unwrap_err(), Refused::SourceSaturated);
        assert!(all.admit(IpAddr::from([192, 0, 2, 2]), &limits).is_ok());
    }
}

#[test]
fn one_network_of_version_six_is_one_source() {
    let all = Arc::new(Connections::default());
    let host = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
    let _two = [all.admit(host(1), &limits()).unwrap(), all.admit(host(2), &limits()).unwrap()];
    assert_eq!(all.admit(host(3), &limits()).unwrap_err(), Refused::SourceSaturated);
}

#[test]
fn a_place_is_free_again_once_left() {
    let all = Arc::new(Connections::default());
    for last in 0..100_u8 {
        drop(all.admit(IpAddr::from([192, 0, 2, last]), &limits()).unwrap());
    }
    assert_eq!(all.total(), 0);
    assert!(all.state.lock().networks.is_empty());
}

#[test]
fn a_site_of_version_six_cannot_take_every_place_by_its_many_networks() {
    let all = Arc::new(Connections::default());
    let limits = Limits { max_pending: 100, ..limits() };
    let host = |site: u16, network: u16| IpAddr::from([0x2001, 0xdb8, site, network, 0, 0, 0, 1]);
    let _places: Vec<_> = (0..8).map(|network| all.admit(host(1, network), &limits).unwrap()).collect();
    assert_eq!(all.admit(host(1, 8), &limits).unwrap_err(), Refused::SourceSaturated);
    assert!(all.admit(host(2, 0), &limits).is_ok());
}

#[test]
fn a_newcomer_takes_the_place_of_the_one_that_was_silent_for_longest() {
    let all = Arc::new(Connections::default());
    let mut places: Vec<_> =
        (0..3_u8).map(|last| all.admit(IpAddr::from([192, 0, 2, last]), &limits()).unwrap()).collect();
    assert!(places[0].hear());
    places.push(all.admit(IpAddr::from([192, 0, 2, 9]), &limits()).unwrap());
    assert_eq!(all.total(), 3);
    let kept: Vec<_> = places.iter_mut().map(Place::hear).collect();
    assert_eq!(kept, [true, false, true, true]);
    drop(places);
    assert_eq!(all.total(), 0);
    assert!(all.state.lock().networks.is_empty());
}

#[test]
fn those_who_have_said_hello_are_not_displaced() {
    let all = Arc::new(Connections::default());
    let mut places: Vec<_> =
        (0..3_u8).map(|last| all.admit(IpAddr::from([192, 0, 2, last]), &limits()).unwrap()).collect();
    assert!(places.iter_mut().all(Place::hear));
    let late = all.admit(IpAddr::from([192, 0, 2, 9]), &limits());
    assert_eq!(late.unwrap_err(), Refused::HandshakesSaturated);
}
