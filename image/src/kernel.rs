//! What a user hands in as a kernel, to what Tarn can start: a plain arm64 `Image`.
//!
//! gzip is undone (Image.gz, and gzip inside an EFI zboot wrapper). What is none of these is refused by what it is.
//! Facts: Linux Documentation/arch/arm64/booting.rst; the zboot header in drivers/firmware/efi/libstub/zboot-header.S.

use std::io::Read;

/// Largest kernel after unpacking; a broken gzip stream could claim anything.
const LIMIT: u64 = 1 << 30;

/// The plain image in `bytes`.
///
/// # Errors
/// What the file is instead, and what to do.
pub fn plain(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if is_image(&bytes) {
        return Ok(bytes);
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let inner = gunzip(&bytes)?;
        if inner.starts_with(&[0x1f, 0x8b]) {
            return Err("is gzip inside gzip; unpack it once".into());
        }
        return plain(inner);
    }
    // EFI zboot: "MZ", "zimg", offset and size of the compressed image, and the compression's name.
    if bytes.starts_with(b"MZ") && bytes.get(4..8) == Some(b"zimg") {
        let field = |at: usize| {
            let word: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(word) as usize)
        };
        let name = bytes.get(24..56).unwrap_or(&[]);
        let name = name.split(|b| *b == 0).next().unwrap_or(&[]);
        if name != b"gzip" {
            return Err(format!(
                "is an EFI zboot kernel compressed with {}; only gzip can be unpacked: take the plain arch/arm64/boot/Image",
                String::from_utf8_lossy(name).escape_debug()
            ));
        }
        let inner = field(8)
            .zip(field(12))
            .and_then(|(from, size)| bytes.get(from..from.checked_add(size)?))
            .ok_or("is an EFI zboot kernel whose header points outside the file")?;
        let inner = gunzip(inner)?;
        if is_image(&inner) {
            return Ok(inner);
        }
        return Err("is an EFI zboot kernel, but what is packed in it is no arm64 Image".into());
    }
    Err(match &bytes[..] {
        [] => "is empty".into(),
        [0x7f, b'E', b'L', b'F', ..] => {
            "is an ELF file; an arm64 Image is needed (for Linux arch/arm64/boot/Image, not vmlinux; for own programs \
             objcopy -O binary, with the Image header at the start)"
                .into()
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "is compressed with zstd; unpack it first".into(),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "is compressed with xz; unpack it first".into(),
        [0x27, 0x05, 0x19, 0x56, ..] => "is a U-Boot uImage; the arm64 Image inside is needed".into(),
        [0xd0, 0x0d, 0xfe, 0xed, ..] => "is a device tree or FIT image; an arm64 Image is needed".into(),
        _ => "is no arm64 Image (no \"ARM\\x64\" at byte 56), not gzip and not EFI zboot".into(),
    })
}

/// Whether the bytes start with the header of an arm64 `Image`.
pub fn is_image(bytes: &[u8]) -> bool {
    bytes.get(56..60) == Some(b"ARM\x64")
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .take(LIMIT + 1)
        .read_to_end(&mut out)
        .map_err(|error| format!("is gzip, but broken: {error}"))?;
    if out.len() as u64 > LIMIT {
        return Err(format!("unpacks to more than {} MiB", LIMIT >> 20));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn image() -> Vec<u8> {
        let mut bytes = vec![0x55; 4096];
        bytes[56..60].copy_from_slice(b"ARM\x64");
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn zboot(kind: &[u8], inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[4..8].copy_from_slice(b"zimg");
        bytes[8..12].copy_from_slice(&64u32.to_le_bytes());
        bytes[12..16].copy_from_slice(&(inner.len() as u32).to_le_bytes());
        bytes[24..24 + kind.len()].copy_from_slice(kind);
        bytes.extend_from_slice(inner);
        bytes
    }

    #[test]
    fn unpacks_what_it_can() {
        assert_eq!(plain(image()).unwrap(), image());
        assert_eq!(plain(gzip(&image())).unwrap(), image());
        assert_eq!(plain(zboot(b"gzip", &gzip(&image()))).unwrap(), image());
    }

    #[test]
    fn says_what_the_file_is_instead() {
        let zstd = zboot(b"zstd22", b"(\xb5/\xfd");
        for (bytes, words) in [
            (vec![], "is empty"),
            (b"\x7fELF\x02".to_vec(), "ELF"),
            (zstd, "zboot kernel compressed with zstd22"),
            (zboot(b"gzip", b""), "broken"),
            (gzip(&gzip(&image())), "gzip inside gzip"),
            (gzip(&image())[..50].to_vec(), "broken"),
            (b"hello, world".to_vec(), "no arm64 Image"),
        ] {
            let said = plain(bytes).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
        let mut outside = zboot(b"gzip", &gzip(&image()));
        outside[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(plain(outside).unwrap_err().contains("outside"));
    }
}
