//! Ports for processes: free on this machine, used by no other process, never one of the rack's own.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Below the range that kernels give to outgoing connections, so that none of those is in the way.
const RANGE: Range<u16> = 20_000..32_000;

/// Chooses a port that is not `taken`, beginning at a random place so that a port is not reused at once.
pub(super) fn choose(taken: &BTreeSet<u16>, random: u16) -> io::Result<u16> {
    let start = RANGE.start + random % (RANGE.end - RANGE.start);
    (start..RANGE.end)
        .chain(RANGE.start..start)
        .find(|port| !taken.contains(port) && is_free(*port))
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::AddrInUse,
                "no port from 20000 to 31999 is free",
            )
        })
}

/// Whether a process could listen there, on loopback or on all addresses.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_or_listened_on_is_passed_over() {
        let first = choose(&BTreeSet::new(), 400).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        let second = choose(&BTreeSet::new(), 400).unwrap();
        assert_ne!(first, second);
        let third = choose(&BTreeSet::from([second]), 400).unwrap();
        assert!(RANGE.contains(&third) && third != first && third != second);
        drop(listener);
    }

    #[test]
    fn the_search_goes_round() {
        let last = RANGE.end - 1;
        let port = choose(&BTreeSet::from([last]), last - RANGE.start).unwrap();
        assert!(RANGE.contains(&port) && port != last);
    }
}
