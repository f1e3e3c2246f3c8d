//! System registers at random: reads of everything, writes of all but what this program stands on.
use guest_rt::sysreg::{self, Encoding};
use guest_rt::testing::expect;
use guest_rt::{mrs, println, psci, trap};

use super::number;

/// Whether a write would break this program itself rather than try the hypervisor.
fn stands_on(e: Encoding) -> bool {
    let el1 = e.op0 == 3 && e.op1 == 0;
    // SCTLR, ACTLR, CPACR; TTBR, TCR; SPSR, ELR, SP, DAIF and so on; MAIR; VBAR; CONTEXTIDR and thread pointers.
    let core = el1 && matches!(e.crn, 1 | 2 | 4 | 10 | 13) || el1 && e.crn == 12 && e.crm == 0;
    // PSTATE fields by register (DAIF, NZCV, ...).
    let pstate = e.op0 == 3 && e.op1 == 3 && e.crn == 4;
    // MDSCR and the breakpoints: a hit would come here as an exception nobody armed.
    let debug = e.op0 == 2;
    // Set/way and whole-cache operations would drop what this program has in its caches; so would IVAC and ZVA on a
    // line it uses. MSR (immediate) lives at op0 = 0.
    let cache = e.op0 == 1
        && e.crn == 7
        && !(e.op1 == 3 && e.op2 == 1 && e.crm >= 10 && e.crm != 12 && e.crm != 13);
    core || pstate || debug || cache
}

/// All of it.
pub fn all() {
    trap::mask_irqs();
    let (mut state, count) = (number("seed", 1), number("count", 20_000));
    let (mut fine, mut undefined, mut other) = (0u32, 0u32, 0u32);
    for _ in 0..count {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Half of the tries go to op0 3, where the registers are.
        let n = (state >> 33) as u32;
        let encoding = Encoding::nth(if n & 1 << 30 == 0 {
            0x4000 | n & 0x3fff
        } else {
            (n >> 2) % 0xc000
        });
        let value = match state >> 20 & 3 {
            0 => 0,
            1 => u64::MAX,
            _ => state ^ state >> 32,
        };
        let write = state >> 19 & 1 != 0;
        let result = match (encoding.op0, write) {
            (1, _) | (_, true) if stands_on(encoding) => continue,
            // Instructions get an address of this image: harmless for those left.
            (1, _) => encoding.write(sysreg::address()),
            (_, true) => encoding.write(value),
            _ => encoding.read().map(|_| ()),
        };
        match result {
            Ok(()) => fine += 1,
            Err(fault) if fault.class() == 0 => undefined += 1,
            Err(fault) => {
                other += 1;
                println!("NOTE {encoding:?} write {write} esr {:#x}", fault.esr);
            }
        }
    }
    println!("NOTE {fine} went through, {undefined} undefined, {other} other");
    expect("registers/only-undefined", other, 0);
    expect("alive/el1", mrs!("currentel") >> 2, 1);
    expect(
        "alive/psci",
        psci::call(psci::id::VERSION, 0, 0, 0),
        0x1_0001,
    );
}
