//! What every function answers when nothing changes: versions, features, errors, unknown functions.
use guest_rt::machine::Conduit;
use guest_rt::psci::{self, call, call_by, error, id};
use guest_rt::testing::{Hex, expect, expect_tarn};
use guest_rt::{cpu, machine, println};

/// No CPU has this affinity.
const NOBODY: u64 = 0x12_0034_5678;

/// Cases that QEMU's PSCI answers too.
pub fn all() {
    expect(
        "version",
        Hex(call(id::VERSION, 0, 0, 0) as u64),
        Hex(0x1_0001),
    );
    for (name, function) in [
        ("features/version", id::VERSION),
        ("features/cpu-suspend32", id::CPU_SUSPEND32),
        ("features/cpu-suspend", id::CPU_SUSPEND),
        ("features/cpu-off", id::CPU_OFF),
        ("features/cpu-on32", id::CPU_ON32),
        ("features/cpu-on", id::CPU_ON),
        ("features/affinity-info32", id::AFFINITY_INFO32),
        ("features/affinity-info", id::AFFINITY_INFO),
        ("features/migrate-info-type", id::MIGRATE_INFO_TYPE),
        ("features/system-off", id::SYSTEM_OFF),
        ("features/system-reset", id::SYSTEM_RESET),
        ("features/features", id::FEATURES),
    ] {
        expect(name, call(id::FEATURES, function.into(), 0, 0), 0);
    }
    for (name, function) in [
        ("features/migrate", 0x8400_0005u32),
        ("features/unknown", 0x8400_001f),
        ("features/unknown64", 0xc400_001f),
        ("features/version-as-64-bit", 0xc400_0000),
        ("features/zero", 0),
        ("features/ones", u32::MAX),
        ("features/trng", 0x8400_0050),
    ] {
        expect(
            name,
            call(id::FEATURES, function.into(), 0, 0),
            error::NOT_SUPPORTED,
        );
    }
    expect("migrate-info-type", call(id::MIGRATE_INFO_TYPE, 0, 0, 0), 2);
    expect("migrate", call(0x8400_0005, 0, 0, 0), error::NOT_SUPPORTED);
    expect(
        "migrate64",
        call(0xc400_0005, 0, 0, 0),
        error::NOT_SUPPORTED,
    );

    let me = cpu::affinity();
    expect("affinity-info/self", call(id::AFFINITY_INFO, me, 0, 0), 0);
    expect(
        "affinity-info/self32",
        call(id::AFFINITY_INFO32, me & 0xff_ffff, 0, 0),
        0,
    );
    expect(
        "affinity-info/nobody",
        call(id::AFFINITY_INFO, NOBODY, 0, 0),
        error::INVALID_PARAMETERS,
    );
    expect(
        "affinity-info/bit-31",
        call(id::AFFINITY_INFO, me | 1 << 31, 0, 0),
        error::INVALID_PARAMETERS,
    );
    expect(
        "cpu-on/self",
        call(id::CPU_ON, me, guest_rt::smp::entry_point(), 0),
        error::ALREADY_ON,
    );
    expect(
        "cpu-on/nobody",
        call(id::CPU_ON, NOBODY, guest_rt::smp::entry_point(), 0),
        error::INVALID_PARAMETERS,
    );
    expect(
        "cpu-on/bit-31",
        call(id::CPU_ON, me | 1 << 31, guest_rt::smp::entry_point(), 0),
        error::INVALID_PARAMETERS,
    );
    expect(
        "cpu-on/ones",
        call(id::CPU_ON, u64::MAX, guest_rt::smp::entry_point(), 0),
        error::INVALID_PARAMETERS,
    );
    expect(
        "cpu-suspend/reserved-bits",
        call(id::CPU_SUSPEND, 0xffff_ffff, 0, 0),
        error::INVALID_PARAMETERS,
    );
    expect(
        "cpu-suspend/reserved-bits32",
        call(id::CPU_SUSPEND32, 0xffff_ffff, 0, 0),
        error::INVALID_PARAMETERS,
    );

    for function in [
        0x0000_0000u32,
        0x4000_0000,
        0x8400_001f,
        0x8400_ffff,
        0xc400_0000,
        0xc400_0002,
        0xc400_001f,
        0xc400_ffff,
        0x8400_0050,
        0x8400_0051,
        0x8400_0052,
        0x8400_0053,
        0xc400_0053,
        0x8200_0000,
        0xc300_0000,
        0xbf00_ff01,
        0x0400_0000,
        0x7fff_ffff,
        0xffff_ffff,
    ] {
        let answer = call(function, 1, 2, 3);
        if answer != error::NOT_SUPPORTED {
            println!("NOTE function {function:#x}");
        }
        expect("unknown", answer, error::NOT_SUPPORTED);
    }
    preserved("preserved/version", id::VERSION, [0; 3]);
    preserved("preserved/unknown", 0x8400_ffff, [5, 6, 7]);
    preserved("preserved/affinity-info", id::AFFINITY_INFO, [me, 0, 0]);
    preserved("preserved/cpu-on", id::CPU_ON, [NOBODY, 0, 0]);
}

fn by_machine(x: &mut [u64; 18]) {
    match machine().psci {
        Some(Conduit::Smc) => psci::smc(x),
        _ => psci::hvc(x),
    }
}

/// SMCCC 1.1: x4 to x17 come back unchanged.
fn preserved(name: &str, function: u32, args: [u64; 3]) {
    let mut x: [u64; 18] = core::array::from_fn(|i| 0x1111_1111_1111_1111 * i as u64);
    x[0] = function.into();
    x[1..4].copy_from_slice(&args);
    let before = x;
    by_machine(&mut x);
    expect(name, x[4..] == before[4..], true);
}

/// What Tarn has and QEMU's PSCI has not.
pub fn tarn_only() {
    let smccc = call(id::SMCCC_VERSION, 0, 0, 0);
    expect_tarn(
        "smccc/version-at-least-1.1",
        (0x1_0001..0x2_0000).contains(&smccc),
        true,
    );
    expect_tarn(
        "smccc/psci-features",
        call(id::FEATURES, id::SMCCC_VERSION.into(), 0, 0),
        0,
    );
    expect_tarn(
        "smccc/arch-features-version",
        call(id::SMCCC_ARCH_FEATURES, id::SMCCC_VERSION.into(), 0, 0),
        0,
    );
    expect_tarn(
        "smccc/arch-features-self",
        call(
            id::SMCCC_ARCH_FEATURES,
            id::SMCCC_ARCH_FEATURES.into(),
            0,
            0,
        ),
        0,
    );
    expect_tarn(
        "smccc/arch-features-unknown",
        call(id::SMCCC_ARCH_FEATURES, 0x8000_7fff, 0, 0),
        -1,
    );
    println!(
        "NOTE arch-workaround-1 {}",
        call(id::SMCCC_ARCH_FEATURES, 0x8000_8000, 0, 0)
    );
    println!(
        "NOTE arch-workaround-3 {}",
        call(id::SMCCC_ARCH_FEATURES, 0x8000_3fff, 0, 0)
    );
    let mut x = [0; 18];
    x[0] = 0x8600_ff01;
    psci::hvc(&mut x);
    println!(
        "NOTE vendor uid {:#x} {:#x} {:#x} {:#x}",
        x[0], x[1], x[2], x[3]
    );
    expect_tarn(
        "smccc/vendor-uid-is-four-words",
        x[0] as u32 != u32::MAX && x[..4].iter().all(|w| w >> 32 == 0),
        true,
    );
    expect_tarn(
        "psci/features-reset2",
        call(id::FEATURES, 0xc400_0012, 0, 0),
        0,
    );
    expect_tarn(
        "psci/reset2-reserved-type",
        call(0xc400_0012, 0x7fff_ffff, 0, 0),
        error::INVALID_PARAMETERS,
    );
    expect_tarn(
        "psci/affinity-level-4",
        call(id::AFFINITY_INFO, cpu::affinity(), 4, 0),
        error::INVALID_PARAMETERS,
    );
    for level in 1..=3 {
        println!(
            "NOTE affinity-info level {level}: {}",
            call(id::AFFINITY_INFO, cpu::affinity(), level, 0)
        );
    }
    // SMCCC: the function id is W0. QEMU looks at all of X0.
    let mut x = [0; 18];
    x[0] = 0xffff_ffff_0000_0000 | u64::from(id::VERSION);
    by_machine(&mut x);
    expect_tarn(
        "smccc/function-id-is-32-bits",
        Hex(x[0] & 0xffff_ffff),
        Hex(0x1_0001),
    );
    // The same by SMC: the answer, and the program goes on behind the instruction.
    let smc = |function, args| call_by(Conduit::Smc, function, args);
    expect_tarn("smc/version", smc(id::VERSION, [0; 3]), 0x1_0001);
    expect_tarn(
        "smc/affinity-info",
        smc(id::AFFINITY_INFO, [cpu::affinity(), 0, 0]),
        0,
    );
    expect_tarn(
        "smc/cpu-on-self",
        smc(id::CPU_ON, [cpu::affinity(), 0x4020_0000, 0]),
        error::ALREADY_ON,
    );
    expect_tarn(
        "smc/unknown",
        smc(0x8400_ffff, [0; 3]),
        error::NOT_SUPPORTED,
    );
    expect_tarn("smc/smccc-version", smc(id::SMCCC_VERSION, [0; 3]), smccc);
    expect_tarn("smc/sip", smc(0xc200_0000, [0; 3]), error::NOT_SUPPORTED);
    expect_tarn(
        "smc/trusted-os",
        smc(0xf200_0000, [0; 3]),
        error::NOT_SUPPORTED,
    );
}
