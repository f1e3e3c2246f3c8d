//! What a Raspberry Pi 4's stock firmware starts from: the boot partition, as a folder and as an image of a card.
//!
//! Ours are config.txt, kernel8.img (the system image) and a note; the firmware's own files are the user's to bring
//! (`--firmware`), since they are not ours to give away. The board's tree is copied with its console set to the PL011,
//! which config.txt puts on the header's pins. The same input gives the same bytes. Facts: raspberrypi.com
//! documentation, "config.txt" and "boot folder contents"; FAT through the fatfs crate, the partition table by hand.

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use std::fs;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::Path;

/// A file of the partition: path with `/`, bytes.
pub type File = (String, Vec<u8>);

const TREE: &str = "bcm2711-rpi-4-b.dtb";
/// What the firmware needs to start and to put the PL011 on the pins.
const FIRMWARE: [&str; 4] = ["start4.elf", "fixup4.dat", TREE, "overlays/disable-bt.dtbo"];
/// The PL011 in that tree, and how fast.
const CONSOLE: &str = "/soc/serial@7e201000:115200n8";

const CONFIG: &str = "\
# Tarn on a Raspberry Pi 4, made by tarn-image. All keys are the stock firmware's.
arm_64bit=1
kernel=kernel8.img
kernel_address=0x200000
device_tree_address=0x08000000
enable_gic=1
# The PL011 on pins 8 (TXD) and 10 (RXD), 115200 8N1.
enable_uart=1
dtoverlay=disable-bt
disable_splash=1
";

const NOTE: &str = "\
This is the boot partition of a Raspberry Pi 4 that runs Tarn. kernel8.img holds Tarn, its guests and their description.

The firmware must lie beside it, from a card that boots Raspberry Pi OS or from github.com/raspberrypi/firmware:
    start4.elf  fixup4.dat  bcm2711-rpi-4-b.dtb  overlays/disable-bt.dtbo
With --firmware FOLDER tarn-image copies them and sets the console in the tree.
docs/boards/rpi4.md says how to wire the serial line and what to expect.
";

/// The files of the partition. `firmware`: the folder with the firmware's own.
///
/// # Errors
/// Which of the firmware's files is missing or wrong.
pub fn files(image: Vec<u8>, firmware: Option<&Path>) -> Result<Vec<File>, String> {
    let mut files = vec![
        ("config.txt".to_owned(), CONFIG.as_bytes().to_vec()),
        ("kernel8.img".to_owned(), image),
        ("TARN.TXT".to_owned(), NOTE.as_bytes().to_vec()),
    ];
    let Some(folder) = firmware else {
        return Ok(files);
    };
    let missing: Vec<&str> = FIRMWARE
        .into_iter()
        .filter(|name| !folder.join(name).is_file())
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "{} lacks {}; it must be the boot folder of Raspberry Pi OS or of github.com/raspberrypi/firmware",
            folder.display(),
            missing.join(", ")
        ));
    }
    for name in FIRMWARE {
        let path = folder.join(name);
        let bytes = fs::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let bytes = if name == TREE {
            with_console(&bytes).map_err(|why| format!("{}: {why}", path.display()))?
        } else {
            bytes
        };
        files.push((name.to_owned(), bytes));
    }
    Ok(files)
}

/// The board's tree with its console set to the PL011.
fn with_console(tree: &[u8]) -> Result<Vec<u8>, String> {
    let fdt = Fdt::new(tree).map_err(|error| format!("not a device tree: {error}"))?;
    let mut tree = DeviceTree::from_fdt(&fdt);
    let known = tree.find_node_mut("/soc/serial@7e201000").is_some();
    if !known {
        return Err("has no /soc/serial@7e201000: is it the tree of a Raspberry Pi 4?".into());
    }
    if tree.find_node_mut("/chosen").is_none() {
        tree.root.add_child(DeviceTreeNode::new_unchecked("chosen"));
    }
    if let Some(chosen) = tree.find_node_mut("/chosen") {
        chosen.remove_property("stdout-path");
        chosen.add_property(DeviceTreeProperty::new_unchecked("stdout-path", CONSOLE));
    }
    Ok(tree.to_dtb())
}

/// Writes the files into a folder, which is made; others in it are left alone.
///
/// # Errors
/// The file and the system's reason.
pub fn write_folder(files: &[File], folder: &Path) -> Result<(), String> {
    for (name, bytes) in files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, bytes))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(())
}

const SECTOR: u64 = 512;
/// Where the partition begins: as every tool does it, on the first MiB.
const START: u64 = 2048;
/// FAT32 needs 65525 clusters; with room to spare.
const LEAST: u64 = 64 << 20;

/// The image of a card: a partition table with one FAT32 partition that holds the files.
///
/// # Errors
/// What the file system refused.
pub fn card(files: &[File]) -> Result<Vec<u8>, String> {
    let content: u64 = files.iter().map(|(_, b)| b.len() as u64 + 64 * 1024).sum();
    // An eighth for the FATs and what the user adds.
    let size = (content + content / 8 + (8 << 20))
        .max(LEAST)
        .next_multiple_of(1 << 20);
    let sectors = u32::try_from(size / SECTOR).map_err(|_| "the card would exceed 2 TiB")?;
    let mut disk = Cursor::new(vec![0; size as usize]);
    let io = |error: std::io::Error| format!("the FAT file system: {error}");
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat32)
        .bytes_per_cluster(512)
        .volume_label(*b"TARN       ");
    fatfs::format_volume(&mut disk, options).map_err(io)?;
    {
        let fs = fatfs::FileSystem::new(&mut disk, fatfs::FsOptions::new()).map_err(io)?;
        let root = fs.root_dir();
        for (name, bytes) in files {
            if let Some((folder, _)) = name.rsplit_once('/') {
                root.create_dir(folder).map_err(io)?;
            }
            let mut file = root.create_file(name).map_err(io)?;
            file.truncate().map_err(io)?;
            file.write_all(bytes).map_err(io)?;
        }
    }
    // The partition's boot sector says how many sectors stand before it.
    disk.seek(SeekFrom::Start(28)).map_err(io)?;
    disk.write_all(&(START as u32).to_le_bytes()).map_err(io)?;
    let mut card = vec![0; (START * SECTOR) as usize];
    let entry = &mut card[446..462];
    entry[0] = 0x80;
    // Beyond what cylinders, heads and sectors can say: use the numbers behind.
    entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[4] = 0x0c;
    entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&(START as u32).to_le_bytes());
    entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    card[510..512].copy_from_slice(&[0x55, 0xaa]);
    card.append(&mut disk.into_inner());
    Ok(card)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_card_holds_the_files() {
        let mut files = files(b"image".repeat(100_000), None).unwrap();
        files.push(("overlays/x.dtbo".into(), vec![7; 100]));
        let card = card(&files).unwrap();
        assert_eq!(card[510..512], [0x55, 0xaa]);
        assert_eq!(card[450], 0x0c);
        let start = u32::from_le_bytes(card[454..458].try_into().unwrap()) as usize * 512;
        let sectors = u32::from_le_bytes(card[458..462].try_into().unwrap()) as usize;
        assert_eq!(start + sectors * 512, card.len());
        let mut disk = Cursor::new(card[start..].to_vec());
        let fs = fatfs::FileSystem::new(&mut disk, fatfs::FsOptions::new()).unwrap();
        assert_eq!(fs.fat_type(), fatfs::FatType::Fat32);
        for (name, wanted) in &files {
            let mut bytes = Vec::new();
            let mut file = fs.root_dir().open_file(name).unwrap();
            file.read_to_end(&mut bytes).unwrap();
            assert!(bytes == *wanted, "{name}");
        }
        assert!(self::card(&files).unwrap() == card, "not reproducible");
    }

    #[test]
    fn the_boards_tree_gets_its_console() {
        let tree = include_bytes!("../../board/tests/fixtures/pi4-like.dtb");
        let board = tarn_board::Board::from_dtb(tree, 0).unwrap();
        let changed = with_console(tree).unwrap();
        let uart = tarn_board::Board::from_dtb(&changed, 0)
            .unwrap()
            .uart
            .unwrap();
        assert_eq!((uart.regs.base(), uart.baud), (0xfe20_1000, Some(115_200)));
        // All else is as it was.
        let after = tarn_board::Board::from_dtb(&changed, 0).unwrap();
        assert_eq!(
            (after.ram, after.cpus, after.gic),
            (board.ram, board.cpus, board.gic)
        );
        assert!(with_console(b"no tree").is_err());
    }

    #[test]
    fn missing_firmware_is_named() {
        let error = files(Vec::new(), Some(Path::new("/nonexistent"))).unwrap_err();
        assert!(error.contains("start4.elf") && error.contains("overlays/disable-bt.dtbo"));
    }
}
