//! Decides which listed networks hold an address or a network, and which it
//! holds.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::ListNo;

/// Most listed networks inside of one that are looked at: what holds more is
/// on the lists of the first of them.
const MAX_INSIDE: usize = 1_024;

/// A network as numbers: IPv4 in the upper 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Net {
    is_v6: bool,
    first: u128,
    length: u8,
}

/// Listed networks of both families.
#[derive(Default)]
pub(super) struct Networks {
    lists: HashMap<Net, Vec<ListNo>>,
    /// In order, once they are all there.
    sorted: Vec<Net>,
    /// Lengths in use, of IPv4 and of IPv6.
    lengths: [Vec<u8>; 2],
}

/// Reads a network, or an address.
pub(super) fn read(text: &str) -> Option<IpNet> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net.trunc(),
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?.to_canonical()),
    };
    match net {
        // ::ffff:192.0.2.0/120 is 192.0.2.0/24.
        IpNet::V6(v6) => match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
            (Some(v4), Some(length)) => Ipv4Net::new(v4, length).ok().map(IpNet::V4),
            _ => Some(IpNet::V6(v6)),
        },
        v4 => Some(v4),
    }
}

impl Net {
    fn of(net: IpNet) -> Self {
        let (is_v6, first) = match net.network() {
            IpAddr::V4(ip) => (false, u128::from(u32::from(ip)) << 96),
            IpAddr::V6(ip) => (true, u128::from(ip)),
        };
        Self { is_v6, first, length: net.prefix_len() }
    }

    fn mask(length: u8) -> u128 {
        u128::MAX.checked_shl(128_u32.saturating_sub(u32::from(length))).unwrap_or(0)
    }

    /// What holds it and has this length.
    fn within(self, length: u8) -> Self {
        Self { first: self.first & Self::mask(length), length, ..self }
    }

    fn last(self) -> u128 {
        self.first | !Self::mask(self.length)
    }
}

impl Networks {
    /// Puts a network on a list.
    pub(super) fn add(&mut self, net: IpNet, list: ListNo) {
        let net = Net::of(net);
        let lists = self.lists.entry(net).or_default();
        if !lists.contains(&list) {
            lists.push(list);
        }
        let [v4, v6] = &mut self.lengths;
        let lengths = if net.is_v6 { v6 } else { v4 };
        if let Err(place) = lengths.binary_search(&net.length) {
            lengths.insert(place, net.length);
        }
    }

    /// To be called once all are there.
    pub(super) fn close(&mut self) {
        self.sorted = self.lists.keys().copied().collect();
        self.sorted.sort_unstable();
    }

    /// Calls `hit` with the lists of what holds the network or lies in it.
    pub(super) fn look(&self, net: IpNet, mut hit: impl FnMut(ListNo)) {
        let net = Net::of(net);
        let [v4, v6] = &self.lengths;
        let lengths = if net.is_v6 { v6 } else { v4 };
        for length in lengths.iter().take_while(|length| **length <= net.length) {
            let lists = self.lists.get(&net.within(*length));
            lists.into_iter().flatten().for_each(|list| hit(*list));
        }
        if lengths.last().is_none_or(|longest| *longest <= net.length) {
            return;
        }
        let from = self.sorted.partition_point(|other| (other.is_v6, other.first) < (net.is_v6, net.first));
        let inside = self.sorted.get(from..).unwrap_or_default().iter();
        let inside = inside.take_while(|other| other.is_v6 == net.is_v6 && other.first <= net.last());
        for other in inside.take(MAX_INSIDE) {
            self.lists.get(other).into_iter().flatten().for_each(|list| hit(*list));
        }
    }
}

/// Whether a network is so wide that nobody means all of it.
pub(super) fn is_wide(net: IpNet) -> bool {
    match net {
        IpNet::V4(net) => Ipv4Net::prefix_len(&net) < 8,
        IpNet::V6(net) => Ipv6Net::prefix_len(&net) < 16,
    }
}
