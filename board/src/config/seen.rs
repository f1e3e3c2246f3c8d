//! What a guest sees at which address: nothing may be put where something else is.

use super::DomainConfig;
use crate::Board;
use crate::guest;
use crate::region::Region;
use alloc::vec::Vec;

/// What `domain` has as far as it has been read, and what it is. With `direct-map` its RAM can be anywhere in the
/// machine's; `outside_ram` leaves that out, for what lies at its own address and is reserved there.
pub(super) fn places(
    board: &Board<'_>,
    domain: &DomainConfig<'_>,
    outside_ram: bool,
) -> Vec<(Region, &'static str)> {
    let uart = domain.vpl011.then_some(domain.pl011_at);
    let mut list: Vec<(Region, &'static str)> =
        guest::windows(domain.gic, domain.cpus, uart).collect();
    if !domain.direct_map {
        let banks = guest::bank_plan(domain.memory_kib);
        let banks = banks.iter().filter_map(|(at, n)| Region::new(*at, *n));
        list.extend(banks.map(|r| (r, "RAM")));
    } else if !outside_ram {
        list.extend(board.ram.iter().map(|r| (*r, "RAM (direct-map)")));
    }
    let roms = domain.roms.iter();
    let roms = roms.filter_map(|r| Region::new(r.guest, r.phys.size()));
    list.extend(roms.map(|r| (r, "ROM")));
    let shared = domain.shared.iter();
    list.extend(shared.map(|s| (s.guest, "shared memory")));
    list
}

/// What of that `region` overlaps.
pub(super) fn clash(
    region: Region,
    board: &Board<'_>,
    domain: &DomainConfig<'_>,
    outside_ram: bool,
) -> Option<(Region, &'static str)> {
    let all = places(board, domain, outside_ram);
    all.into_iter().find(|(r, _)| r.overlaps(&region))
}
