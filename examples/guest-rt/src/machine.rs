//! What the device tree says about the machine: CPUs, memory, GIC, timer, UART, PSCI, boot arguments; what is
//! shared with other guests.
//!
//! Built once by `boot` and read by everybody. It never fails: what the tree does not say is absent or empty, and
//! the part that needs it complains. Addresses are taken as they are: a guest's tree has no bus translation.
use crate::MAX_CPUS;
use crate::dtb::{Dtb, Token, cells, strings};

/// Nested nodes it follows; deeper ones are skipped.
const DEPTH: usize = 12;
/// RAM banks it keeps.
const BANKS: usize = 8;

/// Pieces of shared memory and doorbells it keeps.
const LINKS: usize = 16;

/// An address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Range {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub size: u64,
}

/// How to call PSCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// HVC.
    Hvc,
    /// SMC.
    Smc,
}

/// The interrupt controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicNode {
    /// GICv2: distributor and CPU interface.
    V2 {
        /// GICD.
        dist: Range,
        /// GICC.
        cpu: Range,
    },
    /// GICv3: distributor and first redistributor region.
    V3 {
        /// GICD.
        dist: Range,
        /// GICR.
        redist: Range,
    },
}

/// A PL011 (or its SBSA subset).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UartNode {
    /// Address of its registers.
    pub base: usize,
    /// Its interrupt; 0 if the tree names none.
    pub intid: u32,
}

/// Interrupts of the generic timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerNode {
    /// Non-secure physical timer.
    pub phys: u32,
    /// Virtual timer.
    pub virt: u32,
}

/// Memory that other guests see, too (`/reserved-memory`, "xen,shared-memory-v1").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SharedNode<'a> {
    /// `xen,id`: by what name the guests know it.
    pub id: &'a str,
    /// Where it is.
    pub range: Range,
    /// Stores to it fault.
    pub read_only: bool,
}

/// One end of a doorbell ("tarn,doorbell-v1").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DoorbellNode {
    /// Its number, for the call.
    pub port: u32,
    /// Its register.
    pub base: usize,
    /// The interrupt by which the other end is heard.
    pub intid: u32,
}

/// The machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    cpus: [u64; MAX_CPUS],
    cpu_count: usize,
    memory: [Range; BANKS],
    bank_count: usize,
    shared: [SharedNode<'a>; LINKS],
    shared_count: usize,
    doorbells: [DoorbellNode; LINKS],
    doorbell_count: usize,
    /// The GIC, if there is one this runtime knows.
    pub gic: Option<GicNode>,
    /// The first PL011.
    pub uart: Option<UartNode>,
    /// The timer's interrupts; the usual ones (30, 27) if the tree is silent.
    pub timer: TimerNode,
    /// How to call PSCI, if the tree has it.
    pub psci: Option<Conduit>,
    /// `/chosen/bootargs`, or empty.
    pub bootargs: &'a str,
    /// First `compatible` of `/hypervisor`; None without a hypervisor.
    pub hypervisor: Option<&'a str>,
}

#[derive(Clone, Copy, Default)]
struct Node<'a> {
    name: &'a str,
    compatible: &'a [u8],
    device_type: &'a [u8],
    status: &'a [u8],
    reg: &'a [u8],
    interrupts: &'a [u8],
    method: &'a [u8],
    bootargs: &'a [u8],
    id: &'a [u8],
    read_only: bool,
    port: &'a [u8],
    address_cells: usize,
    size_cells: usize,
}

impl Node<'_> {
    fn is(&self, name: &str) -> bool {
        strings(self.compatible).any(|c| c == name)
    }

    fn enabled(&self) -> bool {
        strings(self.status)
            .next()
            .is_none_or(|s| s == "okay" || s == "ok")
    }

    /// The `n`th range of `reg`, with the parent's cells.
    fn range(&self, parent: &Node<'_>, n: usize) -> Option<Range> {
        let (a, s) = (parent.address_cells, parent.size_cells);
        let at = n * (a + s);
        Some(Range {
            base: cells(self.reg, at, a)?,
            size: cells(self.reg, at + a, s)?,
        })
    }

    /// The `n`th interrupt as an INTID (three-cell GIC specifiers).
    fn intid(&self, n: usize) -> Option<u32> {
        let kind = cells(self.interrupts, n * 3, 1)?;
        let number = u32::try_from(cells(self.interrupts, n * 3 + 1, 1)?).ok()?;
        number.checked_add(if kind == 1 { 16 } else { 32 })
    }
}

impl<'a> Machine<'a> {
    /// Reads the tree. `boot_cpu` is the affinity of the CPU that calls; it becomes CPU 0.
    pub fn from_dtb(dtb: &Dtb<'a>, boot_cpu: u64) -> Machine<'a> {
        let mut machine = Machine {
            cpus: [0; MAX_CPUS],
            cpu_count: 0,
            memory: [Range::default(); BANKS],
            bank_count: 0,
            shared: [SharedNode::default(); LINKS],
            shared_count: 0,
            doorbells: [DoorbellNode::default(); LINKS],
            doorbell_count: 0,
            gic: None,
            uart: None,
            timer: TimerNode { phys: 30, virt: 27 },
            psci: None,
            bootargs: "",
            hypervisor: None,
        };
        let mut stack = [Node::default(); DEPTH];
        let mut depth = 0usize;
        for token in dtb.tokens() {
            match token {
                Token::Begin(name) => {
                    depth += 1;
                    if let Some(node) = stack.get_mut(depth - 1) {
                        *node = Node {
                            name,
                            address_cells: 2,
                            size_cells: 1,
                            ..Node::default()
                        };
                    }
                }
                Token::Property(name, value) => {
                    let Some(node) = depth.checked_sub(1).and_then(|d| stack.get_mut(d)) else {
                        continue;
                    };
                    match name {
                        "compatible" => node.compatible = value,
                        "device_type" => node.device_type = value,
                        "status" => node.status = value,
                        "reg" => node.reg = value,
                        "interrupts" => node.interrupts = value,
                        "method" => node.method = value,
                        "bootargs" => node.bootargs = value,
                        "xen,id" => node.id = value,
                        "tarn,read-only" => node.read_only = true,
                        "tarn,port" => node.port = value,
                        "#address-cells" => {
                            node.address_cells = cells(value, 0, 1).unwrap_or(2).min(4) as usize
                        }
                        "#size-cells" => {
                            node.size_cells = cells(value, 0, 1).unwrap_or(1).min(4) as usize
                        }
                        _ => {}
                    }
                }
                Token::End => {
                    let Some(d) = depth.checked_sub(1) else { break };
                    if d >= 1
                        && let (Some(parent), Some(node)) = (stack.get(d - 1), stack.get(d))
                    {
                        machine.node(d, parent, node);
                    }
                    depth = d;
                }
            }
        }
        if let Some(at) = machine.cpus().iter().position(|&m| m == boot_cpu) {
            machine.cpus[..=at].rotate_right(1);
        }
        machine
    }

    fn node(&mut self, depth: usize, parent: &Node<'a>, node: &Node<'a>) {
        if depth == 1 && node.name == "chosen" {
            self.bootargs = strings(node.bootargs).next().unwrap_or("");
        } else if depth == 1 && node.name == "hypervisor" {
            self.hypervisor = strings(node.compatible).next();
        }
        if !node.enabled() {
            return;
        }
        let device_type = strings(node.device_type).next();
        if device_type == Some("cpu") && parent.name == "cpus" {
            let mpidr = cells(node.reg, 0, parent.address_cells);
            if let (Some(mpidr), Some(slot)) = (mpidr, self.cpus.get_mut(self.cpu_count)) {
                *slot = mpidr;
                self.cpu_count += 1;
            }
        } else if device_type == Some("memory") {
            let mut n = 0;
            while let (Some(range), Some(slot)) =
                (node.range(parent, n), self.memory.get_mut(self.bank_count))
            {
                if range == Range::default() {
                    break;
                }
                *slot = range;
                self.bank_count += 1;
                n += 1;
            }
        } else if node.is("xen,shared-memory-v1") {
            let slot = self.shared.get_mut(self.shared_count);
            if let (Some(range), Some(slot)) = (node.range(parent, 0), slot) {
                let id = strings(node.id).next().unwrap_or("");
                let read_only = node.read_only;
                *slot = SharedNode {
                    id,
                    range,
                    read_only,
                };
                self.shared_count += 1;
            }
        } else if node.is("tarn,doorbell-v1") {
            let slot = self.doorbells.get_mut(self.doorbell_count);
            let port = cells(node.port, 0, 1).and_then(|n| u32::try_from(n).ok());
            if let (Some(range), Some(intid), Some(port), Some(slot)) =
                (node.range(parent, 0), node.intid(0), port, slot)
            {
                let base = range.base as usize;
                *slot = DoorbellNode { port, base, intid };
                self.doorbell_count += 1;
            }
        } else if node.is("arm,gic-v3") {
            if let (Some(dist), Some(redist)) = (node.range(parent, 0), node.range(parent, 1)) {
                self.gic = Some(GicNode::V3 { dist, redist });
            }
        } else if node.is("arm,cortex-a15-gic") || node.is("arm,gic-400") {
            if let (Some(dist), Some(cpu)) = (node.range(parent, 0), node.range(parent, 1)) {
                self.gic = Some(GicNode::V2 { dist, cpu });
            }
        } else if node.is("arm,armv8-timer") {
            if let (Some(phys), Some(virt)) = (node.intid(1), node.intid(2)) {
                self.timer = TimerNode { phys, virt };
            }
        } else if node.is("arm,pl011") || node.is("arm,sbsa-uart") {
            if self.uart.is_none()
                && let Some(range) = node.range(parent, 0)
            {
                self.uart = Some(UartNode {
                    base: range.base as usize,
                    intid: node.intid(0).unwrap_or(0),
                });
            }
        } else if node.is("arm,psci-1.0") || node.is("arm,psci-0.2") {
            self.psci = match strings(node.method).next() {
                Some("hvc") => Some(Conduit::Hvc),
                Some("smc") => Some(Conduit::Smc),
                _ => None,
            };
        }
    }

    /// Affinities of the CPUs; the boot CPU first.
    pub fn cpus(&self) -> &[u64] {
        &self.cpus[..self.cpu_count]
    }

    /// Memory banks.
    pub fn memory(&self) -> &[Range] {
        &self.memory[..self.bank_count]
    }

    /// The shared memory called `id`.
    pub fn shared(&self, id: &str) -> Option<&SharedNode<'a>> {
        self.all_shared().iter().find(|s| s.id == id)
    }

    /// All shared memory.
    pub fn all_shared(&self) -> &[SharedNode<'a>] {
        &self.shared[..self.shared_count]
    }

    /// The doorbell at `port`.
    pub fn doorbell(&self, port: u32) -> Option<&DoorbellNode> {
        let all = &self.doorbells[..self.doorbell_count];
        all.iter().find(|d| d.port == port)
    }

    /// The value of `key=value` in the boot arguments.
    pub fn argument(&self, key: &str) -> Option<&'a str> {
        self.bootargs
            .split_ascii_whitespace()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}
