//! Devices below a bus, given by their paths alone: where the CPUs see them, whose clocks, which interrupts.

mod common;
use tarn_board::config::{Ground, grant};
use tarn_image::check::check;
use tarn_image::pack::TARN_AT_MOST;
use tarn_image::source::{Report, Source};

#[test]
fn a_bus_is_translated_and_clocks_stay_as_they_are() {
    let text = r#"
[board]
type = "other"
dtb = "bus.dtb"
load = 0x4020_0000

[[domain]]
name = "guest"
kernel = "kernel.bin"
memory = "8MiB"
devices = ["/soc/serial@7e201000", { path = "/soc/serial@7e204000", clock = 48_000_000 }]
dma-without-iommu = true
"#;
    let source = Source {
        name: "bus.toml".into(),
        text: text.into(),
        folder: common::folder(),
    };
    let checked = check(&source, None);
    let said = Report(&source, &checked.findings).to_string();
    assert_eq!(said, "");
    let (board, config, payload) = checked.view(TARN_AT_MOST).unwrap();
    let domain = &config.domains[0];
    let offset = domain.device_tree.unwrap().region.base() - payload.base();
    let modules = &checked.compiled.modules;
    let partial = &modules.iter().find(|m| m.offset == offset).unwrap().bytes;
    let ground = Ground {
        tree: &checked.machine.as_ref().unwrap().tree,
        board: &board,
        used: &[],
        marks: false,
    };
    let got = grant(ground, &config, domain, Some(partial), &[]).unwrap();
    let devices = &got.devices;
    assert_eq!(
        devices.paths,
        ["/soc/serial@7e201000", "/soc/serial@7e204000"]
    );
    let seen: Vec<_> = devices
        .mappings
        .iter()
        .map(|m| (m.phys.base(), m.guest))
        .collect();
    assert_eq!(
        seen,
        [(0xfe20_1000, 0xfe20_1000), (0xfe20_4000, 0xfe20_4000)]
    );
    assert_eq!(
        devices.irqs.iter().map(|i| i.intid).collect::<Vec<_>>(),
        [121 + 32]
    );
    assert_eq!(got.spis, 122);
    // The guest's driver reads the CPUs' addresses, and a clock of that rate in place of the board's.
    let has = |bytes: &[u8]| partial.windows(bytes.len()).any(|w| w == bytes);
    assert!(has(&[
        0, 0, 0, 0, 0xfe, 0x20, 0x40, 0, 0, 0, 0, 0, 0, 0, 2, 0
    ]));
    assert!(has(b"fixed-clock\0") && has(&48_000_000u32.to_be_bytes()));
    assert_eq!(partial.windows(7).filter(|w| *w == b"clock-1").count(), 1);
}
