//! Decides which sources of connections are counted together.

use std::iter;
use std::net::{IpAddr, Ipv6Addr};

/// How many connections a network has.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    pub(super) connections: usize,
    pub(super) handshakes: usize,
}

/// What is counted together: its first address and the length of its prefix.
pub(super) type Network = (IpAddr, u8);

/// How many times as much the wide network may have as the narrow one.
const WIDE_FACTOR: usize = 4;

/// The networks that a source is counted in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Networks {
    narrow: Network,
    wide: Option<Network>,
}

impl Networks {
    /// An address alone, or a /64 of IPv6, for one host owns at least that
    /// much, and the /48 around it, for one site does.
    pub(super) fn of(from: IpAddr) -> Self {
        match from.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self {
                    narrow: (Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into(), 64),
                    wide: Some((Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into(), 48)),
                }
            }
            v4 => Self { narrow: (v4, 32), wide: None },
        }
    }

    /// The widest of them: addresses enough to look like many are cheap within
    /// it.
    pub(super) fn widest(self) -> Network {
        self.wide.unwrap_or(self.narrow)
    }

    /// The narrowest of them, by its first address.
    pub(super) const fn narrowest(self) -> IpAddr {
        self.narrow.0
    }

    pub(super) fn each(self) -> impl Iterator<Item = Network> {
        iter::once(self.narrow).chain(self.wide)
    }

    /// Each network with how many times the limits of one source it may reach.
    pub(super) fn factors(self) -> impl Iterator<Item = (Network, usize)> {
        self.each().zip([1, WIDE_FACTOR])
    }
}
