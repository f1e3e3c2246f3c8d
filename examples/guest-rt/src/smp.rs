//! Starting the other CPUs by PSCI and giving them a function to run.
//!
//! CPUs are named by their index in the machine's list (0 is the boot CPU). Every CPU has its own stack, so any
//! number may run at once; a CPU whose function returns goes off and may be started again.
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::{MAX_CPUS, cpu, machine, mmu, psci};

static WORK: [AtomicUsize; MAX_CPUS] = [const { AtomicUsize::new(0) }; MAX_CPUS];
static FIRST: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

unsafe extern "C" {
    fn guest_rt_secondary_entry();
}

/// The physical address at which a secondary CPU starts (virtual and physical addresses are the same here).
pub fn entry_point() -> u64 {
    guest_rt_secondary_entry as *const () as u64
}

/// Says what CPU `index` will run when it arrives at [`entry_point`], and returns its affinity. For tests that call
/// CPU_ON themselves, with the index in x0; everybody else uses [`start`].
///
/// # Errors
/// INVALID_PARAMETERS for an index that the machine does not have or for CPU 0.
pub fn prepare(index: usize, work: fn(usize)) -> Result<u64, i64> {
    let mpidr = machine()
        .cpus()
        .get(index)
        .copied()
        .filter(|_| index != 0)
        .ok_or(psci::error::INVALID_PARAMETERS)?;
    WORK[index].store(work as usize, Ordering::SeqCst);
    mmu::publish();
    cpu::barrier();
    Ok(mpidr)
}

/// Starts CPU `index` in `work`. The error is PSCI's (negative).
///
/// # Errors
/// As [`prepare`], else what CPU_ON answered.
pub fn start(index: usize, work: fn(usize)) -> Result<(), i64> {
    let mpidr = prepare(index, work)?;
    match psci::call(psci::id::CPU_ON, mpidr, entry_point(), index as u64) {
        0 => Ok(()),
        error => Err(error),
    }
}

/// The virtual counter as the first instruction of CPU `index` read it, in ticks; 0 if it never ran.
pub fn first_ticks(index: usize) -> u64 {
    FIRST[index].load(Ordering::SeqCst)
}

/// Waits until PSCI calls CPU `index` off. `false` if it is not after about a second.
pub fn wait_off(index: usize) -> bool {
    let mpidr = machine().cpus()[index];
    cpu::wait_until(crate::mrs!("cntfrq_el0"), || {
        psci::affinity_info(mpidr) == 1
    })
}

pub(crate) fn run(index: usize, ticks: u64) {
    FIRST[index].store(ticks, Ordering::SeqCst);
    let work = WORK[index].load(Ordering::SeqCst);
    if work != 0 {
        // SAFETY: the only non-zero values ever stored are `fn(usize)` pointers.
        let work: fn(usize) = unsafe { core::mem::transmute(work) };
        work(index);
    }
}
