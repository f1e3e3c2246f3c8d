//! A few instructions that stand where QEMU expects the kernel, and enter the real image with an x0 of our choice.
//!
//! QEMU reads the device tree it is given and refuses a broken one; a boot loader on a board may not. The trampoline
//! passes whatever address the test wants: a broken blob put into memory, nothing, or an address without memory.

/// Where the trampoline expects the image: 2 MiB aligned, behind itself.
pub const IMAGE: u64 = 0x4040_0000;
/// Where a blob may be put: far from the image, QEMU's own tree and the boot modules.
pub const BLOB: u64 = 0x4400_0000;

/// The flat image of a trampoline that jumps to `target` with `x0`.
pub fn image(target: u64, x0: u64) -> Vec<u8> {
    const HEADER: usize = 64;
    let code: [u32; 8] = [
        0x5800_0100, // ldr x0, [pc, #32]
        0x5800_0130, // ldr x16, [pc, #36]
        0xaa1f_03e1, // mov x1, xzr
        0xaa1f_03e2, // mov x2, xzr
        0xaa1f_03e3, // mov x3, xzr
        0xd61f_0200, // br x16
        0xd503_201f, // nop
        0xd503_201f, // nop
    ];
    let mut bytes = vec![0; HEADER];
    bytes[..4].copy_from_slice(&(0x1400_0000 + HEADER as u32 / 4).to_le_bytes()); // b over the header
    bytes[16..24].copy_from_slice(&0x1000u64.to_le_bytes()); // image_size
    bytes[24..32].copy_from_slice(&0xau64.to_le_bytes()); // 4 KiB pages, anywhere in memory
    bytes[56..60].copy_from_slice(b"ARM\x64");
    bytes.extend(code.iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend_from_slice(&x0.to_le_bytes());
    bytes.extend_from_slice(&target.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literals_stand_where_the_loads_look() {
        let bytes = image(0x1111, 0x2222);
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        // ldr x0 at 64 reaches 32 bytes on, ldr x16 at 68 reaches 36 bytes on
        assert_eq!(word(64 + 32), 0x2222);
        assert_eq!(word(68 + 36), 0x1111);
    }
}
