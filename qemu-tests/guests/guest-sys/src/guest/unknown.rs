//! Registers that do not exist: UNDEFINED, with ELR at the instruction, and the program goes on behind it.
use guest_rt::sysreg::{self, Encoding};
use guest_rt::testing::{Hex, case, expect};
use guest_rt::{mrs, println, trap};

/// Encodings that no EL1 of these machines has: reserved ones, EL2's, EL3's, Secure timers.
const ABSENT: [(&str, Encoding); 9] = [
    (
        "reserved-op0-3",
        Encoding {
            op0: 3,
            op1: 0,
            crn: 14,
            crm: 15,
            op2: 7,
        },
    ),
    (
        "reserved-op0-2",
        Encoding {
            op0: 2,
            op1: 7,
            crn: 7,
            crm: 7,
            op2: 7,
        },
    ),
    (
        "reserved-op1-5",
        Encoding {
            op0: 3,
            op1: 3,
            crn: 9,
            crm: 5,
            op2: 7,
        },
    ),
    (
        "hcr-el2",
        Encoding {
            op0: 3,
            op1: 4,
            crn: 1,
            crm: 1,
            op2: 0,
        },
    ),
    (
        "vttbr-el2",
        Encoding {
            op0: 3,
            op1: 4,
            crn: 2,
            crm: 1,
            op2: 0,
        },
    ),
    (
        "cnthctl-el2",
        Encoding {
            op0: 3,
            op1: 4,
            crn: 14,
            crm: 1,
            op2: 0,
        },
    ),
    (
        "sctlr-el12",
        Encoding {
            op0: 3,
            op1: 5,
            crn: 1,
            crm: 0,
            op2: 0,
        },
    ),
    (
        "scr-el3",
        Encoding {
            op0: 3,
            op1: 6,
            crn: 1,
            crm: 1,
            op2: 0,
        },
    ),
    (
        "cntps-ctl-el1",
        Encoding {
            op0: 3,
            op1: 7,
            crn: 14,
            crm: 2,
            op2: 1,
        },
    ),
];

/// All cases.
pub fn all() {
    for (name, encoding) in ABSENT {
        for (kind, result) in [
            ("read", encoding.read().map(|_| ())),
            ("write", encoding.write(0)),
        ] {
            match result {
                Ok(()) => expect(name, "exists", "undefined"),
                Err(fault) => {
                    println!("NOTE {name} {kind} esr {:#x}", fault.esr);
                    expect(name, Hex(fault.class().into()), Hex(0));
                    expect("undefined/iss", Hex(fault.iss().into()), Hex(0));
                    expect("undefined/il", fault.esr >> 25 & 1, 1);
                    expect("undefined/elr", fault.elr == sysreg::address(), true);
                }
            }
        }
    }
    // An instruction that is allocated to nothing.
    let fault = sysreg::run(0, 0).err();
    expect("undefined/udf-class", fault.map_or(99, |f| f.class()), 0);
    // The zero register as source and target changes nothing either way.
    expect("known/currentel", mrs!("currentel") >> 2, 1);
    case("known/nzcv-still-works", Hex(mrs!("nzcv") & !0xf000_0000));
    let svc = trap::catch(|| {
        // SAFETY: the exception is caught and returns behind the instruction.
        unsafe { core::arch::asm!("svc #0x123", options(nostack)) };
    });
    expect("svc/esr", Hex(svc.map_or(0, |f| f.esr)), Hex(0x5600_0123));
    let brk = trap::catch(|| {
        // SAFETY: the exception is caught and the instruction skipped.
        unsafe { core::arch::asm!("brk #0x456", options(nostack)) };
    });
    expect("brk/esr", Hex(brk.map_or(0, |f| f.esr)), Hex(0xf200_0456));
    sweep();
}

/// Every register encoding is read once. What happens to each depends on the CPU model; that each either gives a
/// value or is plainly UNDEFINED at its own address does not.
fn sweep() {
    let (mut there, mut undefined, mut other) = (0, 0, 0);
    for n in 0..0x8000 {
        let encoding = Encoding::nth(n);
        match encoding.read() {
            Ok(_) => there += 1,
            Err(fault) if fault.esr == 1 << 25 && fault.elr == sysreg::address() => undefined += 1,
            Err(fault) => {
                other += 1;
                if other <= 8 {
                    println!(
                        "NOTE {encoding:?} esr {:#x} elr {:#x}",
                        fault.esr, fault.elr
                    );
                }
            }
        }
    }
    println!("NOTE {there} registers, {undefined} undefined, {other} other");
    expect("sweep/neither-value-nor-undefined", other, 0);
    expect("sweep/some-of-each", there > 50 && undefined > 1000, true);
}
