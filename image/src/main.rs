//! `tarn-image`: the commands of a system's description.
//!
//! Exit status: 0 done, 1 something is wrong with the description or a file, 2 the command line was not understood.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tarn_image::check::{Checked, check};
use tarn_image::pack::{self, Tarn};
use tarn_image::source::{Report, Source};

fn main() -> ExitCode {
    let matches = cli().get_matches();
    let done = match matches.subcommand() {
        Some(("build", args)) => build(args),
        Some(("check", args)) => check_only(args),
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
                .arg(tarn()),
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
}

fn path<'a>(args: &'a ArgMatches, name: &str) -> Option<&'a Path> {
    args.get_one::<PathBuf>(name).map(PathBuf::as_path)
}

/// Reads and checks the description, prints the findings; an error if it is not good.
fn checked(args: &ArgMatches, tarn: Option<u64>) -> Result<(Source, Checked), String> {
    let source = Source::load(path(args, "DESCRIPTION").unwrap_or(Path::new("tarn.toml")))?;
    let checked = check(&source, tarn);
    eprint!("{}", Report(&source, &checked.findings));
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
    let (_, checked) = checked(args, Some(tarn.size()))?;
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

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
