//! One file out of Tarn, description and guests.
//!
//! Tarn's flat image ends where its bss begins; a loader keeps the rest free by the header's `image_size`. Here the bss
//! becomes zeros in the file, the payload follows on the next page, and `image_size` covers it: every loader that
//! knows the arm64 Image header then places all of it, and Tarn finds the payload by that number alone.

use std::path::{Path, PathBuf};

const SIZE_AT: usize = 16;
/// Bytes that Tarn takes in memory at most (hv/src/arch/link.ld asserts it): what a check reckons with as long as no
/// image of Tarn is at hand.
pub const TARN_AT_MOST: u64 = 4 << 20;

/// Tarn's own flat image.
#[derive(Clone, Debug)]
pub struct Tarn {
    bytes: Vec<u8>,
    size: u64,
}

impl Tarn {
    /// Takes the bytes of `tarn.bin`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(bytes: Vec<u8>) -> Result<Tarn, String> {
        let size = bytes
            .get(SIZE_AT..SIZE_AT + 8)
            .and_then(|b| Some(u64::from_le_bytes(b.try_into().ok()?)));
        let (Some(size), true) = (size, crate::kernel::is_image(&bytes)) else {
            return Err("is no arm64 Image".into());
        };
        if size % 4096 != 0 || size > TARN_AT_MOST {
            return Err(format!(
                "says that it takes {size:#x} bytes; Tarn takes whole pages, at most {TARN_AT_MOST:#x} bytes"
            ));
        }
        if bytes.len() as u64 >= size {
            return Err("is larger than it says: a system image already, not Tarn alone".into());
        }
        Ok(Tarn { bytes, size })
    }

    /// Reads the file.
    ///
    /// # Errors
    /// The path and what is wrong.
    pub fn load(path: &Path) -> Result<Tarn, String> {
        let bytes = std::fs::read(path).map_err(|error| {
            format!(
                "cannot read Tarn's image {}: {error}; `cargo xtask build` makes it, --tarn names another place",
                path.display()
            )
        })?;
        Tarn::new(bytes).map_err(|why| format!("{} {why}", path.display()))
    }

    /// Bytes it takes in memory, and so where a payload begins.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The system image.
    pub fn with(&self, payload: &[u8]) -> Vec<u8> {
        let mut image = self.bytes.clone();
        image.resize(self.size as usize, 0);
        image.extend_from_slice(payload);
        image.resize(image.len().next_multiple_of(4096), 0);
        let total = (image.len() as u64).to_le_bytes();
        image[SIZE_AT..SIZE_AT + 8].copy_from_slice(&total);
        image
    }
}

/// Where `cargo xtask build` leaves Tarn's image, seen from this program in target/debug or target/release; else the
/// same folder.
pub fn default_tarn() -> PathBuf {
    let here = std::env::current_exe().ok();
    let folder = here.as_deref().and_then(Path::parent);
    let beside = folder.map(|f| f.join("tarn.bin"));
    let built = folder
        .and_then(Path::parent)
        .map(|f| f.join("images/tarn.bin"));
    match (beside, built) {
        (Some(beside), _) if beside.is_file() => beside,
        (_, Some(built)) => built,
        (beside, None) => beside.unwrap_or_else(|| "tarn.bin".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tarn(size: u64, file: usize) -> Vec<u8> {
        let mut bytes = vec![0x11; file];
        bytes[SIZE_AT..SIZE_AT + 8].copy_from_slice(&size.to_le_bytes());
        bytes[56..60].copy_from_slice(b"ARM\x64");
        bytes
    }

    #[test]
    fn the_payload_begins_where_tarn_ends_in_memory() {
        let image = Tarn::new(tarn(0x3000, 0x1800)).unwrap().with(b"payload");
        assert_eq!(image.len(), 0x4000);
        assert_eq!(&image[0x3000..0x3007], b"payload");
        assert!(image[0x1800..0x3000].iter().all(|b| *b == 0));
        assert_eq!(image[SIZE_AT..SIZE_AT + 8], 0x4000u64.to_le_bytes());
        // What was made is not taken for Tarn.
        assert!(Tarn::new(image).is_err());
    }

    #[test]
    fn refuses_what_is_not_tarn() {
        for wrong in [
            vec![],
            tarn(0x3001, 0x1000),
            tarn(8 << 20, 0x1000),
            tarn(0x1000, 0x1800),
        ] {
            assert!(Tarn::new(wrong).is_err());
        }
    }
}
