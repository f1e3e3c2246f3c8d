//! Any bytes as a machine's tree: discovery, then pools and domains. Nothing may panic, and what is accepted must
//! keep the promises that the hypervisor relies on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tarn_abi::CpuId;
use tarn_board::{Board, Config, Region, header_size};

fuzz_target!(|data: &[u8]| {
    let _ = header_size(data);
    if Board::from_dtb(data, 0).is_ok() {
        read(data);
    }
    // Past the door: the same bytes with a header that is right about magic, size and version.
    let mut blob = data.to_vec();
    if blob.len() >= 40 {
        let size = blob.len() as u32;
        for (field, word) in [(0, 0xd00d_feed), (1, size), (5, 17), (6, 16)] {
            blob[4 * field..4 * field + 4].copy_from_slice(&u32::to_be_bytes(word));
        }
        read(&blob);
    }
});

fn read(blob: &[u8]) {
    let Ok(board) = Board::from_dtb(blob, 0) else {
        return;
    };
    assert!(!board.cpus.is_empty());
    assert!(board.ram.windows(2).all(|w| w[0].end() < w[1].base()));
    let taken = Region::new(0x4000_0000, 1 << 20)
        .into_iter()
        .collect::<Vec<_>>();
    if let Ok(free) = board.free_ram(&taken) {
        assert!(free.iter().all(|f| board.is_ram(f)));
        assert!(
            free.iter()
                .all(|f| board.reserved.iter().all(|r| !r.region.overlaps(f)))
        );
    }
    let Ok(config) = Config::from_dtb(blob, &board) else {
        return;
    };
    assert!(config.pools[0].cpus.contains(CpuId::BOOT));
    assert_eq!(
        config.pools.iter().map(|p| p.cpus.len()).sum::<usize>(),
        board.cpus.len()
    );
    for d in &config.domains {
        assert!(d.pool < config.pools.len() && d.cpus >= 1 && board.is_ram(&d.kernel.region));
    }
    for note in &config.notes {
        let _ = note.to_string();
    }
    // The same bytes as the description in a system image.
    let Some(payload) = Region::new(0x4400_0000, 16 << 20) else {
        return;
    };
    if let Ok(config) = Config::from_image(blob, &board, payload) {
        for d in &config.domains {
            assert!(d.pool < config.pools.len() && payload.covers(&d.kernel.region));
        }
    }
}
