//! The interrupt controller as a guest sees it: registers, delivery, SGIs, level-sensitive sources.
//!
//! Run natively it shows what the hardware does; run as a domain it must show the same. Only what the architecture
//! fixes is printed. SPIs 40-59 are used as plain software-pended lines: no machine here drives them.
use guest_rt::gic::{self, Gic};
use guest_rt::{machine, mmu, testing, trap};

mod deliver;
mod level;
mod log;
mod nest;
mod registers;
mod sgi;

guest_rt::entry!(main);

/// First SPI that tests may pend.
pub const SPI: u32 = 40;

/// The machine's GIC; `main` checked that there is one.
pub fn gic() -> Gic {
    gic::find().expect("checked in main")
}

fn main() {
    mmu::on();
    let Some(gic) = gic::find() else {
        testing::expect("gic-in-tree", false, true);
        return testing::end();
    };
    testing::case("version", gic.version());
    testing::case("cpus", machine().cpus().len());
    registers::at_reset(&gic);
    registers::read_back(&gic);
    gic.init_distributor();
    gic.init_cpu();
    trap::set_irq_handler(log::handler);
    trap::unmask_irqs();
    deliver::all(&gic);
    nest::all(&gic);
    level::all(&gic);
    sgi::all(&gic);
    testing::end();
}
