//! Calls whose messages are to come, on connections on which no call has authenticated: they leave
//! places to callers who are known, and to those of other addresses.
//!
//! A call holds its place until its message has come and its caller is looked at. So whoever has no
//! credential could hold all places, by calls whose messages do not come.

use crate::shared::{lock, Shared};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

/// One customer of a provider has at least 64 bits of IPv6.
const SUBNET: u128 = u128::MAX << 64;

#[derive(Default)]
struct Counts {
    all: usize,
    by_subnet: HashMap<IpAddr, usize>,
}

/// How many calls there are on such connections.
#[derive(Default)]
pub(crate) struct Strangers(Mutex<Counts>);

impl Strangers {
    /// Three quarters of all calls may be theirs, and half of one subnet.
    fn change(&self, subnet: IpAddr, from: usize, to: usize, calls: usize) -> bool {
        let counts = &mut *lock(&self.0);
        let own = counts.by_subnet.get(&subnet).copied().unwrap_or_default() - from + to;
        let all = counts.all - from + to;
        if to > from && (own > calls - calls / 2 || all > calls - calls / 4) {
            return false;
        }
        counts.all = all;
        if own == 0 {
            counts.by_subnet.remove(&subnet);
        } else {
            counts.by_subnet.insert(subnet, own);
        }
        true
    }
}

/// The calls of one connection, as far as they count here.
pub(crate) struct Strange<'a> {
    shared: &'a Arc<Shared>,
    subnet: IpAddr,
    count: usize,
}

impl<'a> Strange<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>, address: IpAddr) -> Self {
        Self { shared, subnet: subnet_of(address), count: 0 }
    }

    /// Counts so many; false, and as many as before, where those would be too many.
    pub(crate) fn set(&mut self, count: usize) -> bool {
        let Self { shared, subnet, count: before } = *self;
        let fits =
            count == before || shared.strangers.change(subnet, before, count, shared.limits.calls);
        if fits {
            self.count = count;
        }
        fits
    }
}

impl Drop for Strange<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// An address of IPv4, also where IPv6 spells it, or the network of one of IPv6.
fn subnet_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & SUBNET)),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_of_ipv6_stands_for_its_network() {
        assert_eq!(subnet_of(address("10.1.2.3")), address("10.1.2.3"));
        assert_eq!(subnet_of(address("::ffff:10.1.2.3")), address("10.1.2.3"));
        assert_eq!(subnet_of(address("2001:db8:1:2:3:4:5:6")), address("2001:db8:1:2::"));
    }

    #[test]
    fn strangers_leave_places_to_others() {
        let strangers = Strangers::default();
        let (one, other) = (address("10.1.2.3"), address("10.1.2.4"));
        assert!(strangers.change(one, 0, 4, 8));
        assert!(!strangers.change(one, 4, 5, 8), "half of one subnet");
        assert!(strangers.change(other, 0, 2, 8));
        assert!(!strangers.change(other, 2, 3, 8), "three quarters of all");
        assert!(strangers.change(one, 4, 3, 8));
        assert!(strangers.change(other, 2, 3, 8));
        assert!(strangers.change(one, 3, 0, 8));
        assert!(strangers.change(other, 3, 0, 8));
        assert!(lock(&strangers.0).by_subnet.is_empty());
    }
}
