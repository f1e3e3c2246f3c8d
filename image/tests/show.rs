//! What `show` prints and draws for a description with pools, affinities and weights, byte by byte.
//!
//! TARN_BLESS=1 writes the golden files anew, for looking at before they are committed.

mod common;
use std::path::Path;
use tarn_image::check::check;
use tarn_image::show;
use tarn_image::source::{Report, Source};

/// What Tarn takes in memory here: fixed, so that its growth changes nothing.
const TARN: u64 = 1 << 20;

fn golden(name: &str, said: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("TARN_BLESS").is_some() {
        std::fs::write(&path, said).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    assert!(said == wanted, "{}: said\n{said}", path.display());
}

#[test]
fn pools_domains_and_memory() {
    for (board, at, shared, device) in [
        ("virt", "0x6000_0000", "0x5000_0000", "/virtio_mmio@a000000"),
        ("rpi4", "0x2000_0000", "0x1000_0000", "/soc/serial@7e215040"),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let mut source = Source::load(&folder.join("system.toml")).unwrap();
        let files = common::folder();
        let files = files.to_str().unwrap();
        source.text = source
            .text
            .replace("FILES", files)
            .replace("BOARD", board)
            .replace("STATIC", at)
            .replace("SHARED", shared)
            .replace("DEVICE", device);
        let checked = check(&source, Some(TARN));
        let said = Report(&source, &checked.findings).to_string();
        assert!(checked.findings.is_empty(), "{said}");
        let view = show::view(&checked, TARN).unwrap();
        golden(&format!("{board}.txt"), &show::text(&view));
        let picture = show::svg(&view);
        // Well formed: every element closes itself or is closed.
        assert_eq!(
            picture.matches("<text ").count(),
            picture.matches("</text>").count()
        );
        golden(&format!("{board}.svg"), &picture);
    }
}
