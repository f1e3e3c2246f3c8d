//! ELF to flat binary, with the arm64 Linux `Image` header checked.
//!
//! A boot loader copies the file to a 2 MiB aligned address plus `text_offset` and jumps to its first byte; what lies
//! beyond the file's end (bss, stacks) it only keeps free, by the header's `image_size`. So the file holds the
//! loadable segments up to their last file byte, and the header must cover the rest: both are checked here rather than
//! found out by a guest whose stack overlaps its device tree. Facts: Linux Documentation/arch/arm64/booting.rst, ELF-64.

/// A converted image.
#[derive(Debug, PartialEq, Eq)]
pub struct Flat {
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// Bytes in memory, bss included, as the header says.
    pub image_size: u64,
}

const PT_LOAD: u32 = 1;
const EM_AARCH64: u16 = 183;
const IMAGE_MAGIC: u32 = 0x644d_5241;
/// No image of ours is near this; a wrong address in a linker script would be.
const FILE_LIMIT: u64 = 64 << 20;

/// The loadable segments of `elf`, relative to the lowest physical address, zeros between them.
///
/// # Errors
/// What about the file is not as an image of ours must be.
pub fn from_elf(elf: &[u8]) -> Result<Flat, String> {
    if elf.get(..6) != Some(b"\x7fELF\x02\x01") || half(elf, 18) != Some(EM_AARCH64) {
        return Err("not a little-endian AArch64 ELF-64 file".into());
    }
    let broken = || "truncated ELF file".to_owned();
    let entry = word(elf, 24).ok_or_else(broken)?;
    let table = word(elf, 32).ok_or_else(broken)?;
    let stride = u64::from(half(elf, 54).ok_or_else(broken)?);
    let count = u64::from(half(elf, 56).ok_or_else(broken)?);

    let mut segments = Vec::new();
    for index in 0..count {
        let at = index
            .checked_mul(stride)
            .and_then(|offset| table.checked_add(offset))
            .ok_or_else(broken)?;
        let at = usize::try_from(at).map_err(|_| broken())?;
        let field = |offset: usize| {
            at.checked_add(offset)
                .and_then(|at| word(elf, at))
                .ok_or_else(broken)
        };
        if at.checked_add(4).and_then(|end| elf.get(at..end)).map(le32) != Some(PT_LOAD) {
            continue;
        }
        let (offset, physical, in_file, in_memory) =
            (field(8)?, field(24)?, field(32)?, field(40)?);
        if in_memory > 0 {
            segments.push((physical, offset, in_file, in_memory));
        }
    }
    let base = segments
        .iter()
        .map(|segment| segment.0)
        .min()
        .ok_or("no loadable segment")?;

    let mut bytes = Vec::new();
    let mut extent = 0;
    for (physical, offset, in_file, in_memory) in segments {
        let start = physical - base;
        let end = start.checked_add(in_file).filter(|end| *end <= FILE_LIMIT);
        let end = end.ok_or_else(|| {
            format!(
                "segment at {physical:#x} ends more than {} MiB above the lowest one",
                FILE_LIMIT >> 20
            )
        })?;
        extent = extent.max(start.checked_add(in_memory).ok_or_else(broken)?);
        if in_file == 0 {
            continue;
        }
        let source = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(in_file).ok());
        let source = source
            .and_then(|(from, size)| elf.get(from..from.checked_add(size)?))
            .ok_or_else(broken)?;
        let (start, end) = (start as usize, end as usize);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(source);
    }

    if entry != base {
        return Err(format!(
            "entry point {entry:#x} is not the image's first byte, {base:#x}"
        ));
    }
    let header =
        image_header(&bytes).ok_or("no arm64 Image header (magic \"ARM\\x64\" at offset 56)")?;
    if header.image_size < extent {
        return Err(format!(
            "the header's image_size {:#x} is less than the memory it needs, {extent:#x}",
            header.image_size
        ));
    }
    Ok(Flat {
        bytes,
        image_size: header.image_size,
    })
}

/// The fields of the arm64 `Image` header that matter to a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageHeader {
    /// Offset from a 2 MiB boundary at which the image wants to be.
    pub text_offset: u64,
    /// Bytes of memory it needs from there.
    pub image_size: u64,
}

/// Reads the header of a flat image; `None` if it has none.
pub fn image_header(bytes: &[u8]) -> Option<ImageHeader> {
    (bytes.get(56..60).map(le32) == Some(IMAGE_MAGIC))
        .then(|| {
            Some(ImageHeader {
                text_offset: word(bytes, 8)?,
                image_size: word(bytes, 16)?,
            })
        })
        .flatten()
}

fn le32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(
        bytes.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        bytes.get(at..at.checked_add(8)?)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF with two segments: 64 bytes at `base`, and 8 file bytes of 24 in memory at `base + 0x100`.
    fn sample(base: u64, entry: u64, image_size: u64) -> Vec<u8> {
        let mut elf = vec![0; 64 + 2 * 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18..20].copy_from_slice(&EM_AARCH64.to_le_bytes());
        elf[24..32].copy_from_slice(&entry.to_le_bytes());
        elf[32..40].copy_from_slice(&64u64.to_le_bytes());
        elf[54..56].copy_from_slice(&56u16.to_le_bytes());
        elf[56..58].copy_from_slice(&2u16.to_le_bytes());
        let mut text = [0x11; 64];
        text[8..16].copy_from_slice(&0u64.to_le_bytes());
        text[16..24].copy_from_slice(&image_size.to_le_bytes());
        text[56..60].copy_from_slice(&IMAGE_MAGIC.to_le_bytes());
        for (index, (physical, in_file, in_memory)) in [(base, 64u64, 64u64), (base + 0x100, 8, 24)]
            .into_iter()
            .enumerate()
        {
            let at = 64 + index * 56;
            let offset = if index == 0 {
                elf.len() as u64
            } else {
                elf.len() as u64 + 64
            };
            elf[at..at + 4].copy_from_slice(&PT_LOAD.to_le_bytes());
            for (field, value) in [(8, offset), (24, physical), (32, in_file), (40, in_memory)] {
                elf[at + field..at + field + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
        elf.extend_from_slice(&text);
        elf.extend_from_slice(&[0x22; 8]);
        elf
    }

    #[test]
    fn lays_segments_out_from_the_lowest() {
        let flat = from_elf(&sample(0x4000, 0x4000, 0x118)).unwrap();
        assert_eq!(flat.bytes.len(), 0x108);
        assert_eq!(flat.image_size, 0x118);
        assert_eq!(&flat.bytes[0x100..], &[0x22; 8]);
        assert!(flat.bytes[64..0x100].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn refuses_a_header_that_does_not_cover_the_bss() {
        assert!(
            from_elf(&sample(0x4000, 0x4000, 0x117))
                .unwrap_err()
                .contains("image_size")
        );
    }

    #[test]
    fn refuses_an_entry_elsewhere() {
        assert!(
            from_elf(&sample(0x4000, 0x4004, 0x118))
                .unwrap_err()
                .contains("entry")
        );
    }

    #[test]
    fn refuses_every_truncation() {
        let elf = sample(0, 0, 0x118);
        for length in 0..elf.len() {
            assert!(
                from_elf(&elf[..length]).is_err(),
                "accepted the first {length} bytes"
            );
        }
    }
}
