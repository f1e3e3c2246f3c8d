//! `tarn-image`: the commands of a system's description.
//!
//! Exit status: 0 done, 1 something is wrong with the description or a file, 2 the command line was not understood.

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tarn_image::check::{Checked, check};
use tarn_image::pack::{self, Tarn};
use tarn_image::source::{Report, Source};
use tarn_image::system::BoardKind;
use tarn_image::{sdcard, show};

fn main() -> ExitCode {
    let matches = cli().get_matches();
    let done = match matches.subcommand() {
        Some(("build", args)) => build(args),
        Some(("check", args)) => check_only(args),
        Some(("show", args)) => show_system(args),
        Some(("sdcard", args)) => card(args),
        _ => unreachable!("clap demands a command"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("tarn-image: {message}");
            ExitCode::from(1)
        }
    }
}

fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .help(help)
        .value_parser(value_parser!(PathBuf))
}

fn cli() -> Command {
    let description = || file("DESCRIPTION", "the system's description").default_value("tarn.toml");
    let tarn = || {
        file(
            "tarn",
            "Tarn's own image [default: what `cargo xtask build` made]",
        )
        .long("tarn")
        .value_name("FILE")
    };
    let output = |help| {
        file("output", help)
            .short('o')
            .long("output")
            .value_name("FILE")
    };
    Command::new("tarn-image")
        .about("One image for a whole system: checks a description, and makes what a board boots out of it.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("build")
                .about("Make the image: Tarn, its control domain, the guests and the description in one file.")
                .arg(description())
                .arg(output("where to write it").default_value("tarn.img"))
                .arg(tarn())
                .arg(
                    Arg::new("force")
                        .long("force")
                        .help("make it in spite of what is wrong; Tarn leaves that out when it boots")
                        .action(ArgAction::SetTrue),
                ),
        )
        .subcommand(
            Command::new("check")
                .about("Say what is wrong, by the same rules that Tarn applies when it boots.")
                .arg(description())
                .arg(tarn())
                .arg(
                    Arg::new("deny-warnings")
                        .long("deny-warnings")
                        .help("fail on warnings, too")
                        .action(ArgAction::SetTrue),
                ),
        )
        .subcommand(
            Command::new("show")
                .about("Show the system: CPUs in pools, domains, the map of memory.")
                .arg(description())
                .arg(tarn())
                .arg(
                    file("svg", "write a picture there instead of text")
                        .long("svg")
                        .value_name("FILE"),
                )
                .arg(
                    file("dtb", "write the device tree that Tarn will read there")
                        .long("dtb")
                        .value_name("FILE"),
                ),
        )
        .subcommand(
            Command::new("sdcard")
                .about("Make what a Raspberry Pi 4 starts from: the boot partition as a folder, an image of the card, or both.")
                .arg(description())
                .arg(tarn())
                .arg(
                    file("output", "write the boot partition's files into this folder")
                        .short('o')
                        .long("output")
                        .value_name("FOLDER"),
                )
                .arg(
                    file("fat", "write an image of the card there, for dd")
                        .long("fat")
                        .value_name("FILE"),
                )
                .arg(
                    file("firmware", "copy the Pi's own firmware from this folder")
                        .long("firmware")
                        .value_name("FOLDER"),
                )
                .group(ArgGroup::new("to").args(["output", "fat"]).required(true).multiple(true)),
        )
}

fn path<'a>(args: &'a ArgMatches, name: &str) -> Option<&'a Path> {
    args.get_one::<PathBuf>(name).map(PathBuf::as_path)
}

/// Reads and checks the description, prints the findings.
fn look(args: &ArgMatches, tarn: Option<u64>) -> Result<(Source, Checked), String> {
    let source = Source::load(path(args, "DESCRIPTION").unwrap_or(Path::new("tarn.toml")))?;
    let checked = check(&source, tarn);
    eprint!("{}", Report(&source, &checked.findings));
    Ok((source, checked))
}

/// The same; an error if it is not good.
fn checked(args: &ArgMatches, tarn: Option<u64>) -> Result<(Source, Checked), String> {
    let (source, checked) = look(args, tarn)?;
    if checked.is_good() {
        Ok((source, checked))
    } else {
        Err(format!("{} is not right", source.name))
    }
}

/// Tarn's image: the one named, or the one that was built, if it is there.
fn tarn(args: &ArgMatches) -> Result<Tarn, String> {
    match path(args, "tarn") {
        Some(path) => Tarn::load(path),
        None => Tarn::load(&pack::default_tarn()),
    }
}

fn build(args: &ArgMatches) -> Result<(), String> {
    let tarn = tarn(args)?;
    let (source, checked) = look(args, Some(tarn.size()))?;
    let forced = args.get_flag("force") && checked.system.is_some();
    if !checked.is_good() && !forced {
        return Err(format!("{} is not right", source.name));
    }
    let image = tarn.with(&checked.compiled.payload());
    let output = path(args, "output").unwrap_or(Path::new("tarn.img"));
    write(output, &image)?;
    println!(
        "{}: {} KiB; Tarn {} KiB, description {} bytes, {} files",
        output.display(),
        image.len().div_ceil(1024),
        tarn.size() / 1024,
        checked.compiled.tree.len(),
        checked.compiled.modules.len()
    );
    Ok(())
}

fn check_only(args: &ArgMatches) -> Result<(), String> {
    // Without Tarn's image the most it may take is reckoned with.
    let tarn = match path(args, "tarn") {
        Some(path) => Some(Tarn::load(path)?),
        None => Tarn::load(&pack::default_tarn()).ok(),
    };
    let (source, checked) = checked(args, tarn.as_ref().map(Tarn::size))?;
    if args.get_flag("deny-warnings") && !checked.findings.is_empty() {
        return Err(format!("{} has warnings", source.name));
    }
    let system = checked.system.as_ref();
    println!(
        "{}: {} pools and {} domains, nothing wrong",
        source.name,
        system.map_or(0, |s| s.pools.len()),
        system.map_or(0, |s| s.domains.len())
    );
    Ok(())
}

fn show_system(args: &ArgMatches) -> Result<(), String> {
    let tarn = match path(args, "tarn") {
        Some(path) => Some(Tarn::load(path)?),
        None => Tarn::load(&pack::default_tarn()).ok(),
    };
    let size = tarn.as_ref().map_or(pack::TARN_AT_MOST, Tarn::size);
    let (_, checked) = checked(args, Some(size))?;
    let view = show::view(&checked, size)?;
    if let Some(path) = path(args, "dtb") {
        write(path, &checked.compiled.tree)?;
    }
    match path(args, "svg") {
        Some(path) => write(path, show::svg(&view).as_bytes()),
        None => {
            print!("{}", show::text(&view));
            Ok(())
        }
    }
}

fn card(args: &ArgMatches) -> Result<(), String> {
    let tarn = tarn(args)?;
    let (source, checked) = checked(args, Some(tarn.size()))?;
    if checked
        .system
        .as_ref()
        .is_some_and(|s| s.board.kind.value != BoardKind::Rpi4)
    {
        return Err(format!(
            "{}: [board] type is not \"rpi4\"; only a Raspberry Pi 4 starts from such a card",
            source.name
        ));
    }
    let image = tarn.with(&checked.compiled.payload());
    let files = sdcard::files(image, path(args, "firmware"))?;
    if let Some(folder) = path(args, "output") {
        sdcard::write_folder(&files, folder)?;
        println!(
            "{}: {} files for the boot partition",
            folder.display(),
            files.len()
        );
    }
    if let Some(file) = path(args, "fat") {
        let card = sdcard::card(&files)?;
        write(file, &card)?;
        println!(
            "{}: {} MiB, one FAT32 partition; write it with dd",
            file.display(),
            card.len() >> 20
        );
    }
    if path(args, "firmware").is_none() {
        println!("The Pi's own firmware is not on it: see TARN.TXT, or use --firmware FOLDER.");
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
