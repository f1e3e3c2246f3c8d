//! HVC and SMC as nobody should use them.
use super::number;
use guest_rt::machine::Conduit;
use guest_rt::psci::{self, call, call_by, error};
use guest_rt::testing::{case, expect, expect_tarn};
use guest_rt::{cpu, machine, mrs, on_tarn, println, smp, sysreg};

/// HVC with immediate 0, as an instruction word; the immediate is in bits 20:5.
const HVC: u32 = 0xd400_0002;
const SMC: u32 = 0xd400_0003;

/// Immediates and function ids.
pub fn all() {
    if on_tarn() {
        let mut undefined = 0;
        for base in [HVC, SMC] {
            for imm in [
                1u32, 2, 0x7f, 0x80, 0xff, 0x100, 0x1234, 0x4a48, 0x7fff, 0x8000, 0xea1, 0xfffe,
                0xffff,
            ] {
                // x0 = 0 is no function; an exception or an answer are both fine, silence or death is not.
                undefined += u32::from(sysreg::run(base | imm << 5, 0).is_err());
            }
        }
        println!("NOTE {undefined} of 26 immediates were exceptions");
        expect_tarn("immediates/survived", true, true);
    }
    // Ids of every owner, fast and yielding, 32 and 64 bit. Arguments are pointers and sizes where there is nothing.
    // Left out are SYSTEM_OFF, SYSTEM_RESET, CPU_OFF and the like: they work.
    let mut answers = [0u32; 2];
    for owner in 0..64u32 {
        for kind in 0..4u32 {
            for function in [
                0u32, 1, 3, 4, 5, 6, 7, 0xb, 0xd, 0x1f, 0x20, 0x50, 0x100, 0x7fff, 0xff00, 0xff01,
                0xff03, 0xffff,
            ] {
                let id = kind << 30 | owner << 24 | function;
                let sleeps = owner == 4 && kind >= 2 && matches!(function, 1 | 0xd | 3);
                if sleeps {
                    continue;
                }
                let answer = call(id, u64::MAX, 0x0b00_0000, u64::MAX);
                answers[usize::from(answer == error::NOT_SUPPORTED || answer < 0)] += 1;
            }
        }
    }
    println!("NOTE {} refused, {} answered", answers[1], answers[0]);
    case("ids/survived", true);
    if on_tarn() {
        tarn_range();
        tarn_areas();
    }
    expect(
        "alive/psci-version",
        call(psci::id::VERSION, 0, 0, 0),
        0x1_0001,
    );
    expect("alive/el1", mrs!("currentel") >> 2, 1);
}

/// Tarn's own calls are dom0's. From an ordinary guest each is refused, or harmless, whatever its arguments.
fn tarn_range() {
    let mut accepted = 0;
    for function in 0..0x200u32 {
        for arguments in [[0; 3], [u64::MAX; 3], [1 << 63, 0x4000_0000, 1 << 40]] {
            let mut x = [0; 18];
            x[0] = u64::from(0xc600_0000 | function);
            x[1..4].copy_from_slice(&arguments);
            x[4..].fill(u64::MAX);
            psci::hvc(&mut x);
            accepted += u32::from(x[0] == 0);
        }
    }
    println!("NOTE {accepted} of Tarn's own calls answered 0");
    expect_tarn("own-range/survived", true, true);
    expect_tarn(
        "own-range/by-smc",
        call_by(Conduit::Smc, 0xc600_01ff, [u64::MAX; 3]) < 0,
        true,
    );
}

/// Calls of every area but a domain's own (6), registers at random: ids, small numbers, addresses, anything. Of those
/// none is this guest's to make, since no group is delegated to it.
fn tarn_areas() {
    let mut random = number("seed", 0x7a61_726e) | 1;
    let mut next = || {
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let (mut accepted, mut strange) = (0, 0);
    for _ in 0..number("count", 6000) {
        let r = next();
        let function = match (r >> 8) % 7 {
            6 => 0x700,
            area => area << 8,
        } | ((r >> 16) % 0x20);
        let mut x = [0; 18];
        x[0] = 0xc600_0000 | function;
        for register in &mut x[1..8] {
            let r = next();
            *register = match r % 6 {
                0 | 1 => 0,
                2 => (r >> 8) % 4,
                3 => (r >> 8) & 0x0001_003f,
                4 => 0x4000_0000 | (r >> 8) & 0xff_fff8,
                _ => r,
            };
        }
        let version = x[0] == 0xc600_0000 && x[1..8].iter().all(|r| *r == 0);
        psci::hvc(&mut x);
        accepted += u32::from(x[0] == 0 && !version);
        strange += u32::from(x[0] != 0 && !(-64..0).contains(&(x[0] as i64)));
    }
    expect_tarn("areas/nothing-accepted", accepted, 0);
    expect_tarn("areas/every-answer-known", strange, 0);
}

/// CPU_ON and its relatives with arguments that contradict each other, many times.
pub fn psci_flood() {
    let me = cpu::affinity();
    let mut changed = 0;
    for n in 0..2000u64 {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Affinities that no CPU here has.
        let nobody = random | 0xff << 32 | 0xff_0000;
        changed += u32::from(call(psci::id::CPU_ON, nobody, random, n) == 0);
        changed += u32::from(call(psci::id::CPU_ON, me, random, n) == 0);
        call(psci::id::AFFINITY_INFO, random, n, 0);
        call(psci::id::CPU_SUSPEND, 0xffff_0000 | random, random, n);
        call(0x8400_0005, random, n, n);
        call(0xc400_0012, 0x4000_0000 | n, n, n);
    }
    expect("flood/nothing-started", changed, 0);
    // On and off as fast as it goes, without looking whether the last one is done.
    for index in 1..machine().cpus().len() {
        let mut started = 0;
        for _ in 0..2000 {
            started += u32::from(smp::start(index, |_| ()).is_ok());
        }
        println!("NOTE CPU {index} started {started} times");
        expect("flood/some-starts", started > 0, true);
        expect("flood/off-in-the-end", smp::wait_off(index), true);
    }
    expect("alive/affinity-info", psci::affinity_info(me), 0);
}
