/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Printed from abi/src/call by abi/tests/header.rs: do not edit, run TARN_BLESS=1 cargo test -p tarn-abi.
 *
 * The hypervisor call interface for guests in C; docs/abi.md says the same at length. Fill x[1] to x[7] of a tarn_regs,
 * zero what has no meaning, and tarn_call(): 0, or one of enum tarn_error. On TARN_AGAIN make the same call again. */
#ifndef TARN_H
#define TARN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TARN_ABI_MAJOR 1
#define TARN_ABI_MINOR 5

/* Sizes of the tables of ids. */
#define TARN_MAX_CPUS 128
#define TARN_MAX_DOMAINS 128
#define TARN_MAX_VCPUS 1024
#define TARN_MAX_POOLS 64

/* Why a call was refused. */
enum tarn_error {
    TARN_NOT_SUPPORTED = -1, /* no such call */
    TARN_DENIED = -2, /* not permitted for this domain */
    TARN_INVALID = -3, /* argument out of range */
    TARN_NO_SUCH = -4, /* no such object */
    TARN_STALE = -5, /* the object has been destroyed since */
    TARN_EXISTS = -6, /* exists already */
    TARN_BUSY = -7, /* in use or in the wrong state */
    TARN_NO_MEMORY = -8, /* not enough memory or no free slot */
    TARN_AGAIN = -9, /* not finished yet */
    TARN_FIXED = -10, /* the boot CPU and dom0 stay in Pool-0 */
    TARN_END = -11, /* end of list */
    TARN_GARBLED = -12, /* the answer is not of this ABI version */
    TARN_LAST_CPU = -13, /* it is the last CPU of a pool with domains */
    TARN_NOT_EMPTY = -14, /* it is not empty */
    TARN_NO_CPUS = -15, /* the pool has no CPU */
    TARN_NOT_ADMITTED = -16, /* more CPU time than there is */
};

/*
 * Any domain. Which versions the hypervisor and this interface have.
 * out x1: abi: Of this interface. (major in bits 16-31, minor in bits 0-15)
 * out x2-x7: text: Of the hypervisor, for people. (text, up to 48 bytes)
 */
#define TARN_VERSION UINT32_C(0xC6000000)

/*
 * dom0. CPUs, interrupt controller, timer.
 * out x1: cpus_present: CPUs in the device tree. (u32)
 * out x2: cpus_online: CPUs that came up. (u32)
 * out x3: gic: Major version of the interrupt controller: 2 or 3. (u32)
 * out x4: list_registers: List registers of each CPU. (u32)
 * out x5: counter_hz: Frequency of the generic timer's counter, Hz. (u64)
 * out x6: uptime: Time since Tarn was entered. (ns)
 */
#define TARN_SYSTEM_INFO UINT32_C(0xC6000001)

/*
 * dom0. Memory of the machine and who has it.
 * out x1: total: RAM of the machine that Tarn was given, KiB. (u64)
 * out x2: free: Not in use: what new domains can have, KiB. (u64)
 * out x3: tarn: Kept by Tarn for itself: image, tables, heap, stacks; KiB. (u64)
 * out x4: domains: Given to domains, KiB. (u64)
 */
#define TARN_SYSTEM_MEMORY_INFO UINT32_C(0xC6000002)

/*
 * dom0. The board's model, as the device tree's root says.
 * out x2-x7: text: (text, up to 48 bytes)
 */
#define TARN_SYSTEM_MODEL UINT32_C(0xC6000003)

/*
 * dom0. Counters of the whole machine: exits by reason, interrupts, and so on. Ends with End.
 * in x1: index: From 0 on. (u32)
 * out x1: value: Its value; counters only grow. (u64)
 * out x2-x7: name: Its name: lower case, words joined by -. (text, up to 48 bytes)
 */
#define TARN_SYSTEM_COUNTERS UINT32_C(0xC6000004)

/*
 * dom0. The first CPU at or behind a number. Ends with End.
 * in x1: from: Lowest number to look at. (u32)
 * out x1: id: The CPU. (CPU number)
 * out x2: online: Whether it is up. (0 or 1)
 * out x3: pool: The pool it is in; none = free. (pool id + 1, or 0)
 * out x4: coming: The pool it is on its way into, if that is another. (pool id + 1, or 0)
 * out x5: mpidr: Its affinity (MPIDR_EL1). (u64)
 * out x6: idle: Time with nothing to run. (ns)
 * out x7: interrupts: Interrupts it took at EL2. (u64)
 */
#define TARN_SYSTEM_CPU UINT32_C(0xC6000005)

/*
 * dom0. Work done by that very CPU at EL2, whatever pool it is in: nobody is moved or suspended for it. Again
 * until it has come by. NoSuch: no such CPU; Busy: it is not up; Invalid: the argument is beyond what the work
 * takes.
 * in x1: cpu: Which CPU. (CPU number)
 * in x2: work: What. (0 MIDR_EL1, 1 MPIDR_EL1, 2 REVIDR_EL1, 3 CTR_EL0, 4 ID_AA64PFR0_EL1, 5 ID_AA64PFR1_EL1, 6
 * ID_AA64ISAR0_EL1, 7 ID_AA64ISAR1_EL1, 8 ID_AA64MMFR0_EL1, 9 ID_AA64MMFR1_EL1, 10 ID_AA64MMFR2_EL1, 11
 * ID_AA64DFR0_EL1, 12 CNTFRQ_EL0, 13 CNTPCT_EL0, 14 hold)
 * in x3: argument: For Hold: how long, ns; else 0. (u64)
 * out x1: value: (u64)
 */
#define TARN_SYSTEM_CPU_RUN UINT32_C(0xC6000006)

/*
 * dom0. A record of a CPU's last scheduling decisions. A cursor counts the records ever made: start at 0 and go
 * on at next; one older than the oldest kept continues there. End: there is no later one. A row whose what is
 * more is no decision: so far none of this CPU was found, and the search goes on at next.
 * in x1: cpu: Whose. (CPU number)
 * in x2: cursor: Where to read. (u64)
 * out x1: next: Cursor behind this record. (u64)
 * out x2: at: When. (ns since entry)
 * out x3-x4: what: What was decided. (text, up to 16 bytes)
 * out x5: vcpu: About which vCPU. (vCPU id + 1, or 0)
 * out x6: domain: Of which domain, if it is still there. (domain id + 1, or 0)
 * out x7: detail: Of a decision to run: for how long at most, ns, 0 = until something happens; else a detail of
 * what. (u64)
 */
#define TARN_SYSTEM_TRACE UINT32_C(0xC6000007)

/*
 * dom0. The machine's RAM, by ranges and NUMA nodes. Ends with End.
 * in x1: index: From 0 on. (u32)
 * out x1: base: First byte. (u64)
 * out x2: size: Bytes. (u64)
 * out x3: node: Its NUMA node; 0 if the tree names none. (u32)
 * out x4: free: Not in use, KiB. (u64)
 */
#define TARN_SYSTEM_MEMORY_NODES UINT32_C(0xC6000008)

/*
 * dom0. Why the caller's last refused call was refused, in words, in parts of up to 48 bytes; an empty one is the
 * last. Kept until the next call that is refused otherwise than with Again, End, or by this call.
 * in x1: part: From 0 on. (u32)
 * out x2-x7: text: (text, up to 48 bytes)
 */
#define TARN_SYSTEM_WHY UINT32_C(0xC6000009)

/*
 * dom0. The lines that the system description wants typed at dom0's prompt when it comes up, from byte from on;
 * no bytes at the end. Again until every configured domain has been made.
 * in x1: from: Bytes already read. (u32)
 * out x2-x7: bytes: (length (at most 40), then that many bytes)
 */
#define TARN_SYSTEM_BOOT_SCRIPT UINT32_C(0xC600000A)

/*
 * dom0. Resets the machine. Does not return unless refused.
 */
#define TARN_SYSTEM_REBOOT UINT32_C(0xC6000010)

/*
 * dom0. Switches the machine off. Does not return unless refused.
 */
#define TARN_SYSTEM_POWER_OFF UINT32_C(0xC6000011)

/*
 * dom0. Prints bytes as this domain's output. Again: the buffer is full and nothing was taken.
 * in x2-x7: bytes: What to print. (length (at most 40), then that many bytes)
 */
#define TARN_CONSOLE_WRITE UINT32_C(0xC6000100)

/*
 * dom0. Takes what was typed, in order. With wait the vCPU blocks until there is something; even then the answer
 * may have no bytes (it was woken for another reason): call again.
 * in x1: wait: Whether to block while there is nothing. (0 or 1)
 * out x2-x7: bytes: (length (at most 40), then that many bytes)
 */
#define TARN_CONSOLE_READ UINT32_C(0xC6000101)

/*
 * dom0. Moves the input focus; answers who has it now. Busy: that domain has no console.
 * in x1-x2: to: Where to. (0 = keep, 1 = next, 2 = the domain; then the domain id, or 0)
 * out x1: id: (domain id)
 */
#define TARN_CONSOLE_SET_FOCUS UINT32_C(0xC6000102)

/*
 * dom0. Reads Tarn's log. A cursor counts the bytes ever logged: start at 0 and go on at next. A cursor older
 * than the log's oldest byte continues there; one at or beyond the end answers no bytes and the end as next.
 * in x1: cursor: Where to read. (u64)
 * out x1: next: Cursor behind these bytes. (u64)
 * out x2-x7: bytes: A piece of the log; none at its end. (length (at most 40), then that many bytes)
 */
#define TARN_CONSOLE_LOG_READ UINT32_C(0xC6000103)

/*
 * dom0. The first domain at or behind a slot. Ends with End.
 * in x1: from: Lowest slot to look at. (u32)
 * out x1: id: The domain. (domain id)
 * out x2: state: Where it is in its life. (domain state: 0 building, 1 alive, 2 shut down, 3 crashed, 4 dying)
 * out x3: flags: What else is true of it. (bits: 0 running, 1 blocked, 2 paused, 3 control, 4 console, 5 focus)
 * out x4: vcpus: How many vCPUs it has. (u32)
 * out x5: memory_kib: Its memory, KiB. (u64)
 * out x6: pool: The pool it is in. (pool id)
 * out x7: time: CPU time all its vCPUs have had. (ns)
 */
#define TARN_DOMAIN_LIST UINT32_C(0xC6000200)

/*
 * dom0. A domain's name.
 * in x1: id: Whose. (domain id)
 * out x2-x7: text: (text, up to 48 bytes)
 */
#define TARN_DOMAIN_NAME UINT32_C(0xC6000201)

/*
 * dom0. The live domain of a name. NoSuch if there is none.
 * in x2-x7: name: Exactly this name. (text, up to 48 bytes)
 * out x1: id: (domain id)
 */
#define TARN_DOMAIN_FIND UINT32_C(0xC6000202)

/*
 * dom0. The domains of the configuration, alive or not. Ends with End.
 * in x1: index: From 0 on. (u32)
 * out x1: alive: The live domain made from it, if there is one. (domain id + 1, or 0)
 * out x2-x7: name: Its name. (text, up to 48 bytes)
 */
#define TARN_DOMAIN_CONFIG UINT32_C(0xC6000203)

/*
 * dom0. Makes a domain of the configuration, which then builds itself in its own share of the CPUs and starts.
 * NoSuch: no such name there; Exists: it is alive already; NoMemory: it does not fit; Again: another one is being
 * made.
 * in x2-x7: name: Its name in the configuration. (text, up to 48 bytes)
 * out x1: id: (domain id)
 */
#define TARN_DOMAIN_CREATE UINT32_C(0xC6000204)

/*
 * dom0. Stops a domain and takes all its parts back, in steps (Again). Fixed: it is dom0.
 * in x1: id: Which. (domain id)
 */
#define TARN_DOMAIN_DESTROY UINT32_C(0xC6000205)

/*
 * dom0. Keeps a domain from running until Unpause. CPUs that run it are interrupted; they leave it at once, which
 * may be just after the answer. Fixed: it is dom0; Busy: it is paused already or not alive.
 * in x1: id: Which. (domain id)
 */
#define TARN_DOMAIN_PAUSE UINT32_C(0xC6000206)

/*
 * dom0. Lets a paused domain run again. Busy: it is not paused.
 * in x1: id: Which. (domain id)
 */
#define TARN_DOMAIN_UNPAUSE UINT32_C(0xC6000207)

/*
 * dom0. Counters of one domain: exits by reason, interrupts, refused accesses. Ends with End.
 * in x1: id: Whose. (domain id)
 * in x2: index: From 0 on. (u32)
 * out x1: value: Its value; counters only grow. (u64)
 * out x2-x7: name: Its name: lower case, words joined by -. (text, up to 48 bytes)
 */
#define TARN_DOMAIN_COUNTERS UINT32_C(0xC6000208)

/*
 * dom0. Why a domain crashed. Busy: it has not.
 * in x1: id: Which. (domain id)
 * out x1: pc: Guest program counter at that moment. (u64)
 * out x2-x7: reason: What happened. (text, up to 48 bytes)
 */
#define TARN_DOMAIN_CRASH UINT32_C(0xC6000209)

/*
 * dom0. As Create, in this pool instead of the configuration's. NoCpus: the pool has none; Fixed: dom0 stays in
 * Pool-0.
 * in x1: pool: Where. (pool id)
 * in x2-x7: name: Its name in the configuration. (text, up to 48 bytes)
 * out x1: id: (domain id)
 */
#define TARN_DOMAIN_CREATE_IN UINT32_C(0xC600020A)

/*
 * dom0. Brings a domain into another pool with its weights, cap, boost parameters, affinities and run states. It
 * stands still until the CPUs that hold its registers have come by. Fixed: it is dom0; NoCpus: the pool has none;
 * NotAdmitted: the scheduler there cannot take it. Several at once: a plan.
 * in x1: id: Which. (domain id)
 * in x2: to: Where to. (pool id)
 * out x1: stood_still: The longest time for which a vCPU that wanted to run was kept from it by this change. (ns)
 * out x2: adjusted: What could not stay as it was. (bits: 0 affinity names no CPU of the pool, so all count; 1
 * affinity names CPUs outside the pool; 2 weight unused; 3 boost unused; 4 period and budget unused; 5 left its
 * group; 6 affinity unused inside a group; 7 memory stays outside the pool's; 8 a vCPU of it, or of a pool that
 * the change is about, has no CPU under this scheduler; 9 soft affinity unused)
 */
#define TARN_DOMAIN_MOVE UINT32_C(0xC600020B)

/*
 * dom0. Scheduling parameters of a domain; where vCPUs differ, those of vCPU 0. Ends with End.
 * in x1: id: Whose. (domain id)
 * in x2: index: From 0 on. (u32)
 * out x1-x2: name: Its name: lower case, words joined by -. (text, up to 16 bytes)
 * out x3: kind: What it is. (bits 0-7 unit: 0 number, 1 switch (0 or 1), 2 us, 3 per cent of a CPU, 4
 * thousandths; bit 8: the scheduler uses it)
 * out x4: value: Its value now. (u64)
 * out x5: default: Its value when nothing is said. (u64)
 * out x6: min: Lowest value allowed. (u64)
 * out x7: max: Highest value allowed. (u64)
 */
#define TARN_DOMAIN_PARAMS UINT32_C(0xC600020C)

/*
 * dom0. Sets one or two of them, for all its vCPUs. NoSuch: no such name; Invalid: out of range.
 * in x1: id: Whose. (domain id)
 * in x2-x4: first: What. (name, up to 16 bytes, then the value)
 * in x5-x7: second: And what. (name, up to 16 bytes, then the value; all 0 = none)
 */
#define TARN_DOMAIN_SET_PARAMS UINT32_C(0xC600020D)

/*
 * dom0. Time in each of the six run states of a domain.
 * in x1: id: Whose. (domain id)
 * out x1: full_run: Of all running. (ns)
 * out x2: full_contention: Of all waiting for a CPU. (ns)
 * out x3: concurrency_hazard: Of some running while others wait for a CPU. (ns)
 * out x4: blocked: Of all blocked. (ns)
 * out x5: partial_run: Of some running, the others blocked. (ns)
 * out x6: partial_contention: Of some waiting for a CPU, the others blocked. (ns)
 */
#define TARN_DOMAIN_RUNSTATE UINT32_C(0xC600020E)

/*
 * dom0. The run state it is in.
 * in x1: id: Whose. (domain id)
 * out x1: state: What it does. (run state: 0 full run, 1 full contention, 2 concurrency hazard, 3 blocked, 4
 * partial run, 5 partial contention)
 * out x2: since: Since when. (ns since entry)
 * out x3: at: When this was read. (ns since entry)
 * out x4: missed: Changes of state that were not recorded: always 0 here. (u32)
 */
#define TARN_DOMAIN_RUNSTATE_NOW UINT32_C(0xC600020F)

/*
 * dom0. Boosts of all its vCPUs: granted by cause, ended by cause, spent while somebody waited, held back for
 * storms. Ends with End.
 * in x1: id: Whose. (domain id)
 * in x2: index: From 0 on. (u32)
 * out x1: value: Its value; counters only grow. (u64)
 * out x2-x7: name: Its name: lower case, words joined by -. (text, up to 48 bytes)
 */
#define TARN_DOMAIN_BOOSTS UINT32_C(0xC6000210)

/*
 * dom0. One vCPU of a domain. Ends with End.
 * in x1: domain: Whose. (domain id)
 * in x2: index: Its number in the domain, from 0 on. (u32)
 * out x1: id: Its id over all domains. (vCPU id)
 * out x2: state: What it does. (run state: 0 running, 1 runnable, 2 blocked, 3 offline)
 * out x3: cpu: The CPU it runs on or ran on last. (CPU number + 1, or 0)
 * out x4-x5: affinity: CPUs it may run on. (CPU set, lowest CPUs first)
 * out x6: time: CPU time it has had. (ns)
 * out x7: stranded: It has no CPU, and gets none before another vCPU leaves or a CPU comes: its scheduler is
 * null. (0 or 1)
 */
#define TARN_VCPU_INFO UINT32_C(0xC6000300)

/*
 * dom0. The time one vCPU of a domain has spent in each state. Ends with End.
 * in x1: domain: Whose. (domain id)
 * in x2: index: Its number in the domain, from 0 on. (u32)
 * out x1: state: What it does. (run state: 0 running, 1 runnable, 2 blocked, 3 offline)
 * out x2: since: Since when. (ns since entry)
 * out x3: running: Time on a CPU, up to now. (ns)
 * out x4: runnable: Time waiting for a CPU, up to now. (ns)
 * out x5: blocked: Time waiting for interrupts, up to now. (ns)
 * out x6: offline: Time off, up to now. (ns)
 */
#define TARN_VCPU_RUNSTATE UINT32_C(0xC6000301)

/*
 * dom0. Where a vCPU is.
 * in x1: id: Which. (vCPU id)
 * out x1: group: Its group, or (slot 0) the pool it is in. (group id)
 * out x2: cpu: The CPU that holds its registers. (CPU number + 1, or 0)
 * out x3: last: The CPU it ran on last. (CPU number + 1, or 0)
 * out x4-x5: allowed: CPUs it may use: its affinity as far as the pool has them, all of the pool's if it has
 * none. (CPU set, lowest CPUs first)
 * out x6-x7: soft: CPUs where it runs rather than elsewhere (soft affinity). (CPU set, lowest CPUs first)
 */
#define TARN_VCPU_PLACE UINT32_C(0xC6000302)

/*
 * dom0. Confines a vCPU to some CPUs (hard affinity), and says where it runs rather than elsewhere (soft
 * affinity). CPUs that its pool does not have count again where there are. Invalid: cpus is empty.
 * in x1: id: Which. (vCPU id)
 * in x2-x3: cpus: The CPUs. (CPU set, lowest CPUs first)
 * in x4-x5: soft: The preferred ones; none leaves the preference as it is, all is no preference. (CPU set, lowest
 * CPUs first)
 * out x1: adjusted: What has no effect where the vCPU is. (bits: 0 affinity names no CPU of the pool, so all
 * count; 1 affinity names CPUs outside the pool; 2 weight unused; 3 boost unused; 4 period and budget unused; 5
 * left its group; 6 affinity unused inside a group; 7 memory stays outside the pool's; 8 a vCPU of it, or of a
 * pool that the change is about, has no CPU under this scheduler; 9 soft affinity unused)
 * out x2-x3: allowed: CPUs it may use now. (CPU set, lowest CPUs first)
 */
#define TARN_VCPU_PIN UINT32_C(0xC6000303)

/*
 * dom0. Scheduling parameters of a vCPU. Ends with End.
 * in x1: id: Whose. (vCPU id)
 * in x2: index: From 0 on. (u32)
 * out x1-x2: name: Its name: lower case, words joined by -. (text, up to 16 bytes)
 * out x3: kind: What it is. (bits 0-7 unit: 0 number, 1 switch (0 or 1), 2 us, 3 per cent of a CPU, 4
 * thousandths; bit 8: the scheduler uses it)
 * out x4: value: Its value now. (u64)
 * out x5: default: Its value when nothing is said. (u64)
 * out x6: min: Lowest value allowed. (u64)
 * out x7: max: Highest value allowed. (u64)
 */
#define TARN_VCPU_PARAMS UINT32_C(0xC6000304)

/*
 * dom0. Sets one or two of them. NoSuch: no such name, or a domain's; Invalid: out of range.
 * in x1: id: Whose. (vCPU id)
 * in x2-x4: first: What. (name, up to 16 bytes, then the value)
 * in x5-x7: second: And what. (name, up to 16 bytes, then the value; all 0 = none)
 */
#define TARN_VCPU_SET_PARAMS UINT32_C(0xC6000305)

/*
 * dom0. Boosts of a vCPU, as for a domain. Ends with End.
 * in x1: id: Whose. (vCPU id)
 * in x2: index: From 0 on. (u32)
 * out x1: value: Its value; counters only grow. (u64)
 * out x2-x7: name: Its name: lower case, words joined by -. (text, up to 48 bytes)
 */
#define TARN_VCPU_BOOSTS UINT32_C(0xC6000306)

/*
 * dom0. The first pool at or behind a slot. Ends with End.
 * in x1: from: Lowest slot to look at. (u32)
 * out x1: id: The pool. (pool id)
 * out x2-x3: cpus: Its CPUs. (CPU set, lowest CPUs first)
 * out x4: domains: How many domains are in it. (u32)
 * out x5-x6: sched: Its scheduler. (text, up to 16 bytes)
 * out x7: stranded: How many of its vCPUs have no CPU, and get none before another leaves or a CPU comes. (u32)
 */
#define TARN_POOL_LIST UINT32_C(0xC6000400)

/*
 * dom0. A pool's name.
 * in x1: id: Whose. (pool id)
 * out x2-x7: text: (text, up to 48 bytes)
 */
#define TARN_POOL_NAME UINT32_C(0xC6000401)

/*
 * dom0. The first domain of a pool at or behind a slot of the domain table. Ends with End.
 * in x1: id: Which pool. (pool id)
 * in x2: from: Lowest domain slot to look at. (u32)
 * out x1: id: (domain id)
 */
#define TARN_POOL_DOMAINS UINT32_C(0xC6000402)

/*
 * dom0. The pool of a name. NoSuch if there is none.
 * in x2-x7: name: Exactly this name. (text, up to 48 bytes)
 * out x1: id: (pool id)
 */
#define TARN_POOL_FIND UINT32_C(0xC6000403)

/*
 * dom0. Makes a pool without CPUs and domains. Exists: the name is taken; Invalid: it is not 1 to 31 letters,
 * digits, -, _ or .; NoMemory: no slot.
 * in x1: sched: Its scheduler; none = the default. (scheduler number + 1, or 0)
 * in x2-x7: name: Its name. (text, up to 48 bytes)
 * out x1: id: (pool id)
 */
#define TARN_POOL_CREATE UINT32_C(0xC6000404)

/*
 * dom0. Removes a pool; its CPUs become free. NotEmpty: it has domains; Fixed: it is Pool-0.
 * in x1: id: Which. (pool id)
 */
#define TARN_POOL_DESTROY UINT32_C(0xC6000405)

/*
 * dom0. Gives a pool another name; refusals as for Create.
 * in x1: id: Which. (pool id)
 * in x2-x7: name: Its new name. (text, up to 48 bytes)
 */
#define TARN_POOL_RENAME UINT32_C(0xC6000406)

/*
 * dom0. Brings CPUs into a pool, wherever they are, or makes them free; all or none. NoSuch: the machine has no
 * such CPU; Fixed: the boot CPU stays in Pool-0; LastCpu: a pool with domains would be left without.
 * in x1: to: Where to; none = free. (pool id + 1, or 0)
 * in x2-x3: cpus: Which. (CPU set, lowest CPUs first)
 * out x1: stood_still: The longest time for which a vCPU that wanted to run was kept from it by this change. (ns)
 * out x2: adjusted: What could not stay as it was. (bits: 0 affinity names no CPU of the pool, so all count; 1
 * affinity names CPUs outside the pool; 2 weight unused; 3 boost unused; 4 period and budget unused; 5 left its
 * group; 6 affinity unused inside a group; 7 memory stays outside the pool's; 8 a vCPU of it, or of a pool that
 * the change is about, has no CPU under this scheduler; 9 soft affinity unused)
 */
#define TARN_POOL_ASSIGN_CPUS UINT32_C(0xC6000407)

/*
 * dom0. The CPUs that are in no pool.
 * out x1-x2: cpus: (CPU set, lowest CPUs first)
 */
#define TARN_POOL_FREE_CPUS UINT32_C(0xC6000408)

/*
 * dom0. Exchanges the scheduler of a running pool; parameters of its domains stay. NotAdmitted: it cannot take
 * all of them.
 * in x1: id: Which pool. (pool id)
 * in x2: sched: Its new scheduler. (scheduler number)
 * out x1: stood_still: The longest time for which a vCPU that wanted to run was kept from it by this change. (ns)
 * out x2: adjusted: What could not stay as it was. (bits: 0 affinity names no CPU of the pool, so all count; 1
 * affinity names CPUs outside the pool; 2 weight unused; 3 boost unused; 4 period and budget unused; 5 left its
 * group; 6 affinity unused inside a group; 7 memory stays outside the pool's; 8 a vCPU of it, or of a pool that
 * the change is about, has no CPU under this scheduler; 9 soft affinity unused)
 */
#define TARN_POOL_SET_SCHED UINT32_C(0xC6000409)

/*
 * dom0. Parameters of a pool. Ends with End.
 * in x1: id: Whose. (pool id)
 * in x2: index: From 0 on. (u32)
 * out x1-x2: name: Its name: lower case, words joined by -. (text, up to 16 bytes)
 * out x3: kind: What it is. (bits 0-7 unit: 0 number, 1 switch (0 or 1), 2 us, 3 per cent of a CPU, 4
 * thousandths; bit 8: the scheduler uses it)
 * out x4: value: Its value now. (u64)
 * out x5: default: Its value when nothing is said. (u64)
 * out x6: min: Lowest value allowed. (u64)
 * out x7: max: Highest value allowed. (u64)
 */
#define TARN_POOL_PARAMS UINT32_C(0xC600040A)

/*
 * dom0. Sets one or two of them. NoSuch: no such name; Invalid: out of range.
 * in x1: id: Whose. (pool id)
 * in x2-x4: first: What. (name, up to 16 bytes, then the value)
 * in x5-x7: second: And what. (name, up to 16 bytes, then the value; all 0 = none)
 */
#define TARN_POOL_SET_PARAMS UINT32_C(0xC600040B)

/*
 * dom0. The schedulers there are. Ends with End.
 * in x1: index: From 0 on. (u32)
 * out x1: id: Its number. (scheduler number)
 * out x2: default: Whether pools get it when nothing is said. (0 or 1)
 * out x3-x4: name: Its name. (text, up to 16 bytes)
 */
#define TARN_POOL_SCHEDS UINT32_C(0xC600040C)

/*
 * dom0. A phrase about a scheduler.
 * in x1: id: Which. (scheduler number)
 * out x2-x7: text: (text, up to 48 bytes)
 */
#define TARN_POOL_SCHED_ABOUT UINT32_C(0xC600040D)

/*
 * dom0. Counters of a pool. Ends with End.
 * in x1: id: Whose. (pool id)
 * in x2: index: From 0 on. (u32)
 * out x1: value: Its value; counters only grow. (u64)
 * out x2-x7: name: Its name: lower case, words joined by -. (text, up to 48 bytes)
 */
#define TARN_POOL_COUNTERS UINT32_C(0xC600040E)

/*
 * dom0. Where the memory of a pool's domains comes from, and how much there is.
 * in x1: id: Which pool. (pool id)
 * out x1-x3: from: Where its domains' memory comes from. (0, 0, 0 = anywhere; 1, node, 0; 2, base address, bytes)
 * out x4: free: Free there, KiB. (u64)
 * out x5: used: What its domains have, KiB. (u64)
 */
#define TARN_POOL_MEMORY UINT32_C(0xC600040F)

/*
 * dom0. Sets where the memory of domains created in this pool from now on comes from. NoSuch: no such node;
 * Invalid: the range is no RAM of ours; Busy: it overlaps a range that another pool has.
 * in x1: id: Which pool. (pool id)
 * in x2-x4: from: From where. (0, 0, 0 = anywhere; 1, node, 0; 2, base address, bytes)
 */
#define TARN_POOL_SET_MEMORY UINT32_C(0xC6000410)

/*
 * dom0, and a domain for what is delegated to it. The first group of a pool, or inside a group, at or behind a
 * slot. Inside: directly or deeper. Ends with End.
 * in x1: within: The pool (slot 0) or the group. (group id)
 * in x2: from: Lowest slot to look at. (u32)
 * out x1: id: The group. (group id)
 * out x2: parent: Where it is: another group, or (slot 0) directly in the pool. (group id)
 * out x3: owner: The domain it is delegated to. (domain id + 1, or 0)
 * out x4: sched: Its scheduler. (scheduler number)
 * out x5: processors: Its virtual processors: how many CPUs it can use at once. (u32)
 * out x6: weight: Weight of each of them in the parent, or of all together (parameter split). (u32)
 * out x7: members: vCPUs and groups directly inside. (u32)
 */
#define TARN_GROUP_LIST UINT32_C(0xC6000500)

/*
 * dom0, and a domain for what is delegated to it. A group's name.
 * in x1: id: Whose. (group id)
 * out x2-x7: text: (text, up to 48 bytes)
 */
#define TARN_GROUP_NAME UINT32_C(0xC6000501)

/*
 * dom0, and a domain for what is delegated to it. Makes an empty group. Exists: one directly in the same place
 * has that name; Invalid: name, processors (1 to 64), weight (1 to 65535; if it is split, at least the number of
 * processors) or depth out of range; NoMemory: no slot.
 * in x1: parent: The pool (slot 0) or the group it shall be in. (group id)
 * in x2: sched: Its scheduler; none = the default. (scheduler number + 1, or 0)
 * in x3: processors: Its virtual processors. (u32)
 * in x4: weight: Weight of each of them in the parent. (u32)
 * in x5-x6: name: Its name. (text, up to 16 bytes)
 * in x7: split: Whether the weight is that of all its processors together: each has its part, rounded down. Also
 * the parameter split. (0 or 1)
 * out x1: id: (group id)
 */
#define TARN_GROUP_CREATE UINT32_C(0xC6000502)

/*
 * dom0, and a domain for what is delegated to it. Removes an empty group. NotEmpty; Again while a CPU is on its
 * way out of it.
 * in x1: id: Which. (group id)
 */
#define TARN_GROUP_DESTROY UINT32_C(0xC6000503)

/*
 * dom0. Brings a whole domain into a group of its pool, or (slot 0) out of all. Invalid: the group is of another
 * pool.
 * in x1: domain: Which domain. (domain id)
 * in x2: to: Where to. (group id)
 * out x1: stood_still: The longest time for which a vCPU that wanted to run was kept from it by this change. (ns)
 * out x2: adjusted: What could not stay as it was. (bits: 0 affinity names no CPU of the pool, so all count; 1
 * affinity names CPUs outside the pool; 2 weight unused; 3 boost unused; 4 period and budget unused; 5 left its
 * group; 6 affinity unused inside a group; 7 memory stays outside the pool's; 8 a vCPU of it, or of a pool that
 * the change is about, has no CPU under this scheduler; 9 soft affinity unused)
 */
#define TARN_GROUP_MOVE UINT32_C(0xC6000504)

/*
 * dom0, and a domain for what is delegated to it. Brings one vCPU into a group of its pool. A domain may move its
 * own vCPUs between its delegated groups and groups inside them.
 * in x1: vcpu: Which. (vCPU id)
 * in x2: to: Where to. (group id)
 * out x1: stood_still: The longest time for which a vCPU that wanted to run was kept from it by this change. (ns)
 * out x2: adjusted: What could not stay as it was. (bits: 0 affinity names no CPU of the pool, so all count; 1
 * affinity names CPUs outside the pool; 2 weight unused; 3 boost unused; 4 period and budget unused; 5 left its
 * group; 6 affinity unused inside a group; 7 memory stays outside the pool's; 8 a vCPU of it, or of a pool that
 * the change is about, has no CPU under this scheduler; 9 soft affinity unused)
 */
#define TARN_GROUP_MOVE_VCPU UINT32_C(0xC6000505)

/*
 * dom0. Gives a group to a domain of the same pool, or takes it back. Busy: it, one it is in or one inside it
 * belongs to a domain already.
 * in x1: id: Which group. (group id)
 * in x2: to: To whom; none = back to dom0 alone. (domain id + 1, or 0)
 */
#define TARN_GROUP_DELEGATE UINT32_C(0xC6000506)

/*
 * Any domain. The groups delegated to the caller. Ends with End.
 * in x1: index: From 0 on. (u32)
 * out x1: id: The group. (group id)
 * out x2: parent: Where it is: another group, or (slot 0) directly in the pool. (group id)
 * out x3: owner: The domain it is delegated to. (domain id + 1, or 0)
 * out x4: sched: Its scheduler. (scheduler number)
 * out x5: processors: Its virtual processors: how many CPUs it can use at once. (u32)
 * out x6: weight: Weight of each of them in the parent, or of all together (parameter split). (u32)
 * out x7: members: vCPUs and groups directly inside. (u32)
 */
#define TARN_GROUP_MINE UINT32_C(0xC6000507)

/*
 * dom0, and a domain for what is delegated to it. CPU time of a group and of all that compete with it; a domain
 * is told its own group's alone.
 * in x1: id: Which. (group id)
 * out x1: at: When this was read. (ns since entry)
 * out x2: runtime: CPU time its virtual processors have had. (ns)
 * out x3: siblings: CPU time that domains and groups directly in the same parent have had, this one included.
 * (ns)
 */
#define TARN_GROUP_TIMES UINT32_C(0xC6000508)

/*
 * dom0, and a domain for what is delegated to it. The vCPUs directly in a group, by their place in the table of
 * vCPUs; a domain is shown its own. Ends with End.
 * in x1: id: Which. (group id)
 * in x2: from: Lowest vCPU slot to look at. (u32)
 * out x1: vcpu: The vCPU. (vCPU id)
 * out x2: domain: Its domain. (domain id)
 * out x3: index: Its number in the domain. (u32)
 * out x4: runtime: CPU time it has had. (ns)
 */
#define TARN_GROUP_MEMBER UINT32_C(0xC6000509)

/*
 * dom0, and a domain for what is delegated to it. Parameters of a group's virtual processors in its parent. Ends
 * with End.
 * in x1: id: Whose. (group id)
 * in x2: index: From 0 on. (u32)
 * out x1-x2: name: Its name: lower case, words joined by -. (text, up to 16 bytes)
 * out x3: kind: What it is. (bits 0-7 unit: 0 number, 1 switch (0 or 1), 2 us, 3 per cent of a CPU, 4
 * thousandths; bit 8: the scheduler uses it)
 * out x4: value: Its value now. (u64)
 * out x5: default: Its value when nothing is said. (u64)
 * out x6: min: Lowest value allowed. (u64)
 * out x7: max: Highest value allowed. (u64)
 */
#define TARN_GROUP_PARAMS UINT32_C(0xC600050A)

/*
 * dom0, and a domain for what is delegated to it. Sets one or two of them. A domain may do so for groups inside
 * its delegated one, not for that itself (Denied). Invalid: out of range, or a weight to split is below the
 * number of processors.
 * in x1: id: Whose. (group id)
 * in x2-x4: first: What. (name, up to 16 bytes, then the value)
 * in x5-x7: second: And what. (name, up to 16 bytes, then the value; all 0 = none)
 */
#define TARN_GROUP_SET_PARAMS UINT32_C(0xC600050B)

/*
 * dom0, and a domain for what is delegated to it. Boosts of a group's virtual processors by cause. Ends with End.
 * in x1: id: Whose. (group id)
 * in x2: index: From 0 on. (u32)
 * out x1: value: Its value; counters only grow. (u64)
 * out x2-x7: name: Its name: lower case, words joined by -. (text, up to 48 bytes)
 */
#define TARN_GROUP_BOOSTS UINT32_C(0xC600050C)

/*
 * Any domain. Lets others run: the calling vCPU goes behind those of its kind, and is boosted no longer.
 */
#define TARN_GUEST_YIELD UINT32_C(0xC6000600)

/*
 * Any domain. Gives up the calling vCPU's boost; it goes on if it ranks first even so.
 */
#define TARN_GUEST_DEBOOST UINT32_C(0xC6000601)

/*
 * Any domain. Registers the 64 bytes at this guest-physical address as the calling vCPU's boost page: from then
 * on it counts as enlightened. All ones takes it back. Invalid unless aligned to 64, NoSuch unless RAM of the
 * caller. Gone after PSCI CPU_ON and reset.
 * in x1: address: Where. (u64)
 */
#define TARN_GUEST_SET_PAGE UINT32_C(0xC6000602)

/*
 * Any domain. The caller's own counters: exits by reason, boosts granted and ended by cause. Ends with End.
 * in x1: index: From 0 on. (u32)
 * out x1: value: Its value; counters only grow. (u64)
 * out x2-x7: name: Its name: lower case, words joined by -. (text, up to 48 bytes)
 */
#define TARN_GUEST_COUNTERS UINT32_C(0xC6000603)

/*
 * Any domain. The time one of the caller's vCPUs has spent in each state. Ends with End.
 * in x1: index: Its number in the domain, from 0 on. (u32)
 * out x1: state: What it does. (run state: 0 running, 1 runnable, 2 blocked, 3 offline)
 * out x2: since: Since when. (ns since entry)
 * out x3: running: Time on a CPU, up to now. (ns)
 * out x4: runnable: Time waiting for a CPU, up to now. (ns)
 * out x5: blocked: Time waiting for interrupts, up to now. (ns)
 * out x6: offline: Time off, up to now. (ns)
 */
#define TARN_GUEST_RUNSTATE UINT32_C(0xC6000604)

/*
 * Any domain. Rings a doorbell: the domain at its other end gets an interrupt. Rings before that has been taken
 * are one. NoSuch unless the caller's domain has such a port, Busy while the other domain does not live.
 * in x1: port: The caller's own number of it, as its device tree says (tarn,port). (u32)
 */
#define TARN_GUEST_RING UINT32_C(0xC6000605)

/*
 * dom0. Starts an empty plan; one that was not committed is forgotten. Busy: one is being committed.
 */
#define TARN_PLAN_BEGIN UINT32_C(0xC6000700)

/*
 * dom0. Step: makes a pool without CPUs. Answers the step's number, from 0 on, as all steps do. NoMemory: the
 * plan is full.
 * in x1: sched: Its scheduler; none = the default. (scheduler number + 1, or 0)
 * in x2-x7: name: Its name. (text, up to 48 bytes)
 * out x1: step: (u32)
 */
#define TARN_PLAN_CREATE_POOL UINT32_C(0xC6000701)

/*
 * dom0. Step: removes a pool without domains; its CPUs become free.
 * in x1: pool: Which. (0 = none; 1 in bits 32-63: pool id in bits 0-31; 2 in bits 32-63: the pool that the step
 * of that number makes)
 * out x1: step: (u32)
 */
#define TARN_PLAN_DESTROY_POOL UINT32_C(0xC6000702)

/*
 * dom0. Step: gives a pool another name.
 * in x1: pool: Which. (0 = none; 1 in bits 32-63: pool id in bits 0-31; 2 in bits 32-63: the pool that the step
 * of that number makes)
 * in x2-x7: name: Its new name. (text, up to 48 bytes)
 * out x1: step: (u32)
 */
#define TARN_PLAN_RENAME_POOL UINT32_C(0xC6000703)

/*
 * dom0. Step: brings CPUs into a pool, or makes them free.
 * in x1: to: Where to. (0 = none; 1 in bits 32-63: pool id in bits 0-31; 2 in bits 32-63: the pool that the step
 * of that number makes)
 * in x2-x3: cpus: Which. (CPU set, lowest CPUs first)
 * out x1: step: (u32)
 */
#define TARN_PLAN_ASSIGN_CPUS UINT32_C(0xC6000704)

/*
 * dom0. Step: brings a domain into a pool. Steps of this kind that follow each other move together: none of their
 * domains runs in its new pool before all of them have stopped in the old.
 * in x1: domain: Which. (domain id)
 * in x2: to: Where to. (0 = none; 1 in bits 32-63: pool id in bits 0-31; 2 in bits 32-63: the pool that the step
 * of that number makes)
 * out x1: step: (u32)
 */
#define TARN_PLAN_MOVE_DOMAIN UINT32_C(0xC6000705)

/*
 * dom0. Step: gives a pool another scheduler.
 * in x1: pool: Which pool. (0 = none; 1 in bits 32-63: pool id in bits 0-31; 2 in bits 32-63: the pool that the
 * step of that number makes)
 * in x2: sched: Its new scheduler. (scheduler number)
 * out x1: step: (u32)
 */
#define TARN_PLAN_SET_SCHED UINT32_C(0xC6000706)

/*
 * dom0. Step: sets one or two parameters of a pool.
 * in x1: pool: Whose. (0 = none; 1 in bits 32-63: pool id in bits 0-31; 2 in bits 32-63: the pool that the step
 * of that number makes)
 * in x2-x4: first: What. (name, up to 16 bytes, then the value)
 * in x5-x7: second: And what. (name, up to 16 bytes, then the value; all 0 = none)
 * out x1: step: (u32)
 */
#define TARN_PLAN_SET_POOL_PARAMS UINT32_C(0xC6000707)

/*
 * dom0. Step: sets one or two parameters of a domain and all its vCPUs.
 * in x1: domain: Whose. (domain id)
 * in x2-x4: first: What. (name, up to 16 bytes, then the value)
 * in x5-x7: second: And what. (name, up to 16 bytes, then the value; all 0 = none)
 * out x1: step: (u32)
 */
#define TARN_PLAN_SET_DOMAIN_PARAMS UINT32_C(0xC6000708)

/*
 * dom0. Checks the plan as a whole against the system as it is now. Changes nothing.
 * out x1: steps: How many steps the plan has. (u32)
 * out x2: failed: The first step that cannot be carried out, counted from 1; 0 = all can. (u32)
 * out x3: why: Why: a refusal's number without its sign, 0 if there is none. (u32)
 */
#define TARN_PLAN_CHECK UINT32_C(0xC6000710)

/*
 * dom0. After Check: the pools as they will be. Ends with End.
 * in x1: index: From 0 on. (u32)
 * out x1: pool: The pool, or the step that makes it. (0 = none; 1 in bits 32-63: pool id in bits 0-31; 2 in bits
 * 32-63: the pool that the step of that number makes)
 * out x2-x3: cpus: The CPUs it will have. (CPU set, lowest CPUs first)
 * out x4: domains: How many domains will be in it. (u32)
 * out x5-x6: sched: Its scheduler. (text, up to 16 bytes)
 * out x7: stranded: How many of its vCPUs will have no CPU. (u32)
 */
#define TARN_PLAN_OUTCOME UINT32_C(0xC6000711)

/*
 * dom0. After Check: the domains that move, and what cannot stay as it is. Ends with End.
 * in x1: index: From 0 on. (u32)
 * out x1: domain: The domain. (domain id)
 * out x2: pool: The pool it will be in. (0 = none; 1 in bits 32-63: pool id in bits 0-31; 2 in bits 32-63: the
 * pool that the step of that number makes)
 * out x3: adjusted: What will not stay as it is. (bits: 0 affinity names no CPU of the pool, so all count; 1
 * affinity names CPUs outside the pool; 2 weight unused; 3 boost unused; 4 period and budget unused; 5 left its
 * group; 6 affinity unused inside a group; 7 memory stays outside the pool's; 8 a vCPU of it, or of a pool that
 * the change is about, has no CPU under this scheduler; 9 soft affinity unused)
 */
#define TARN_PLAN_CHANGE UINT32_C(0xC6000712)

/*
 * dom0. Carries the plan out, in steps (Again). Any other refusal: nothing has changed, and Verdict says at which
 * step.
 * out x1: steps: How many steps have been carried out: all of them. (u32)
 * out x2: stood_still: The longest time for which a vCPU that wanted to run was kept from it. (ns)
 * out x3: adjusted: What could not stay as it was, of any domain. (bits: 0 affinity names no CPU of the pool, so
 * all count; 1 affinity names CPUs outside the pool; 2 weight unused; 3 boost unused; 4 period and budget unused;
 * 5 left its group; 6 affinity unused inside a group; 7 memory stays outside the pool's; 8 a vCPU of it, or of a
 * pool that the change is about, has no CPU under this scheduler; 9 soft affinity unused)
 */
#define TARN_PLAN_COMMIT UINT32_C(0xC6000713)

/*
 * dom0. Which step failed at the last Check or Commit, and why.
 * out x1: steps: How many steps the plan has. (u32)
 * out x2: failed: The first step that cannot be carried out, counted from 1; 0 = all can. (u32)
 * out x3: why: Why: a refusal's number without its sign, 0 if there is none. (u32)
 */
#define TARN_PLAN_LAST_VERDICT UINT32_C(0xC6000714)

/*
 * dom0. Takes back what a commit under way has done, in steps (Again), and forgets the plan.
 */
#define TARN_PLAN_ABORT UINT32_C(0xC6000715)

/* x0 to x7 of a call and of its reply. */
struct tarn_regs {
    uint64_t x[8];
};

#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
/* Makes the call `function` with x[1] to x[7]; the reply is in x[0] to x[7], the answer is x[0]. */
static inline int64_t tarn_call(uint32_t function, struct tarn_regs *r)
{
    register uint64_t x0 __asm__("x0") = function;
    register uint64_t x1 __asm__("x1") = r->x[1];
    register uint64_t x2 __asm__("x2") = r->x[2];
    register uint64_t x3 __asm__("x3") = r->x[3];
    register uint64_t x4 __asm__("x4") = r->x[4];
    register uint64_t x5 __asm__("x5") = r->x[5];
    register uint64_t x6 __asm__("x6") = r->x[6];
    register uint64_t x7 __asm__("x7") = r->x[7];
    __asm__ volatile("hvc #0"
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x6), "+r"(x7)
                     :
                     : "memory", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17");
    r->x[0] = x0;
    r->x[1] = x1;
    r->x[2] = x2;
    r->x[3] = x3;
    r->x[4] = x4;
    r->x[5] = x5;
    r->x[6] = x6;
    r->x[7] = x7;
    return (int64_t)x0;
}
#else
/* The caller's own, where the compiler is not one for AArch64. */
int64_t tarn_call(uint32_t function, struct tarn_regs *r);
#endif

/* The slot and the generation of an id. */
static inline uint16_t tarn_slot(uint64_t id)
{
    return (uint16_t)id;
}

static inline uint16_t tarn_generation(uint64_t id)
{
    return (uint16_t)(id >> 16);
}

/* Whether this runs on Tarn, and on one that knows every call of this header. */
static inline int tarn_present(void)
{
    struct tarn_regs r = { { 0 } };
    if (tarn_call(TARN_VERSION, &r) != 0)
        return 0;
    return (r.x[1] >> 16) == TARN_ABI_MAJOR && (r.x[1] & 0xffff) >= TARN_ABI_MINOR;
}

#ifdef __cplusplus
}
#endif

#endif
