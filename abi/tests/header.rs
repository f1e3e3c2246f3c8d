//! abi/include/tarn.h, the interface for guests in C, is printed from the table of calls; this test fails when the file is
//! not what the table says, or when a C compiler refuses it.
//!
//! `TARN_BLESS=1 cargo test -p tarn-abi --test header` writes it anew.

use std::fmt::Write;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tarn_abi::call::wire::Field;
use tarn_abi::call::{ABI, Caller, Row, table};
use tarn_abi::{Errno, MAX_CPUS, MAX_DOMAINS, MAX_POOLS, MAX_VCPUS};

const HEAD: &str = "\
/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Printed from abi/src/call by abi/tests/header.rs: do not edit, run TARN_BLESS=1 cargo test -p tarn-abi.
 *
 * The hypervisor call interface for guests in C; docs/abi.md says the same at length. Fill x[1] to x[7] of a tarn_regs,
 * zero what has no meaning, and tarn_call(): 0, or one of enum tarn_error. On TARN_AGAIN make the same call again. */
#ifndef TARN_H
#define TARN_H

#include <stdint.h>

#ifdef __cplusplus
extern \"C\" {
#endif
";

const TAIL: &str = "
/* x0 to x7 of a call and of its reply. */
struct tarn_regs {
    uint64_t x[8];
};

#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
/* Makes the call `function` with x[1] to x[7]; the reply is in x[0] to x[7], the answer is x[0]. */
static inline int64_t tarn_call(uint32_t function, struct tarn_regs *r)
{
    register uint64_t x0 __asm__(\"x0\") = function;
    register uint64_t x1 __asm__(\"x1\") = r->x[1];
    register uint64_t x2 __asm__(\"x2\") = r->x[2];
    register uint64_t x3 __asm__(\"x3\") = r->x[3];
    register uint64_t x4 __asm__(\"x4\") = r->x[4];
    register uint64_t x5 __asm__(\"x5\") = r->x[5];
    register uint64_t x6 __asm__(\"x6\") = r->x[6];
    register uint64_t x7 __asm__(\"x7\") = r->x[7];
    __asm__ volatile(\"hvc #0\"
                     : \"+r\"(x0), \"+r\"(x1), \"+r\"(x2), \"+r\"(x3), \"+r\"(x4), \"+r\"(x5), \"+r\"(x6), \"+r\"(x7)
                     :
                     : \"memory\", \"x8\", \"x9\", \"x10\", \"x11\", \"x12\", \"x13\", \"x14\", \"x15\", \"x16\", \"x17\");
    r->x[0] = x0;
    r->x[1] = x1;
    r->x[2] = x2;
    r->x[3] = x3;
    r->x[4] = x4;
    r->x[5] = x5;
    r->x[6] = x6;
    r->x[7] = x7;
    return (int64_t)x0;
}
#else
/* The caller's own, where the compiler is not one for AArch64. */
int64_t tarn_call(uint32_t function, struct tarn_regs *r);
#endif

/* The slot and the generation of an id. */
static inline uint16_t tarn_slot(uint64_t id)
{
    return (uint16_t)id;
}

static inline uint16_t tarn_generation(uint64_t id)
{
    return (uint16_t)(id >> 16);
}

/* Whether this runs on Tarn, and on one that knows every call of this header. */
static inline int tarn_present(void)
{
    struct tarn_regs r = { { 0 } };
    if (tarn_call(TARN_VERSION, &r) != 0)
        return 0;
    return (r.x[1] >> 16) == TARN_ABI_MAJOR && (r.x[1] & 0xffff) >= TARN_ABI_MINOR;
}

#ifdef __cplusplus
}
#endif

#endif
";

/// `CamelCase` as `CAMEL_CASE`.
fn upper(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if i > 0 && c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

fn sentence(doc: &[&str]) -> String {
    let text: Vec<&str> = doc.iter().map(|l| l.trim()).collect();
    text.join(" ").replace("*/", "* /").replace('`', "")
}

/// `text` as lines of a comment.
fn wrapped(out: &mut String, text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + word.len() > 110 {
            writeln!(out, " * {line}").unwrap();
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    writeln!(out, " * {line}").unwrap();
}

fn fields(out: &mut String, arrow: &str, fields: &[Field]) {
    let mut next = 1;
    for f in fields {
        let first = if f.words == 6 { 2 } else { next };
        next = first + f.words;
        let place = match f.words {
            1 => format!("x{first}"),
            n => format!("x{first}-x{}", first + n - 1),
        };
        let line = format!(
            "{arrow} {place}: {}: {} ({})",
            f.name,
            sentence(f.doc),
            f.kind
        );
        wrapped(out, &line);
    }
}

fn call(out: &mut String, row: &Row) {
    let area = row.area.trim_end_matches("Call");
    let name = if area == row.name {
        upper(area)
    } else {
        format!("{}_{}", upper(area), upper(row.name))
    };
    let who = match row.caller {
        Caller::Anyone => "Any domain.",
        Caller::Dom0 => "dom0.",
        Caller::Owner => "dom0, and a domain for what is delegated to it.",
    };
    writeln!(out, "\n/*").unwrap();
    wrapped(out, &format!("{who} {}", sentence(row.doc)));
    fields(out, "in ", row.args);
    fields(out, "out", row.reply);
    writeln!(
        out,
        " */\n#define TARN_{name} UINT32_C({:#010X})",
        row.number
    )
    .unwrap();
}

fn header() -> String {
    let mut out = HEAD.to_owned();
    writeln!(out, "\n#define TARN_ABI_MAJOR {}", ABI.major).unwrap();
    writeln!(out, "#define TARN_ABI_MINOR {}", ABI.minor).unwrap();
    out += "\n/* Sizes of the tables of ids. */\n";
    for (name, n) in [
        ("CPUS", MAX_CPUS),
        ("DOMAINS", MAX_DOMAINS),
        ("VCPUS", MAX_VCPUS),
        ("POOLS", MAX_POOLS),
    ] {
        writeln!(out, "#define TARN_MAX_{name} {n}").unwrap();
    }
    out += "\n/* Why a call was refused. */\nenum tarn_error {\n";
    for e in Errno::ALL {
        let name = upper(&format!("{e:?}"));
        writeln!(out, "    TARN_{name} = {}, /* {} */", *e as i64, e.text()).unwrap();
    }
    out += "};\n";
    for row in table() {
        call(&mut out, &row);
    }
    out + TAIL
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/tarn.h")
}

#[test]
fn the_header_is_current() {
    let wanted = header();
    if std::env::var_os("TARN_BLESS").is_some() {
        std::fs::create_dir_all(path().parent().unwrap()).unwrap();
        std::fs::write(path(), &wanted).unwrap();
    }
    let found = std::fs::read_to_string(path()).unwrap_or_default();
    assert!(
        found == wanted,
        "abi/include/tarn.h is not current: TARN_BLESS=1 writes it anew"
    );
}

/// A program that uses what the header offers.
const PROGRAM: &str = "\
#include \"tarn.h\"
int64_t groups_of_mine(uint64_t *id);
int64_t groups_of_mine(uint64_t *id)
{
    struct tarn_regs r = { { 0 } };
    int64_t e;
    if (!tarn_present())
        return TARN_NOT_SUPPORTED;
    do
        e = tarn_call(TARN_GROUP_MINE, &r);
    while (e == TARN_AGAIN);
    *id = r.x[1];
    return e + tarn_slot(r.x[1]) + tarn_generation(r.x[1]) + TARN_MAX_CPUS;
}
";

/// Whether `compiler` takes the program; `None` if there is no such compiler.
fn compiles(compiler: &str, args: &[&str]) -> Option<Result<(), String>> {
    let mut child = Command::new(compiler)
        .args(args)
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .args(["-fsyntax-only", "-ffreestanding", "-I"])
        .arg(path().parent().unwrap())
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(PROGRAM.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Some(if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    })
}

/// `cc` has to be there: building Rust for the host needs it. Others are asked if they are.
#[test]
fn the_header_compiles() {
    let answer = compiles("cc", &["-x", "c", "-std=c99"]).expect("cc is installed");
    assert_eq!(answer, Ok(()));
    for (compiler, args) in [
        ("c++", &["-x", "c++"][..]),
        ("clang", &["-x", "c", "-std=c99"]),
        (
            "clang",
            &["-x", "c", "-std=c99", "--target=aarch64-none-elf"],
        ),
        ("aarch64-linux-gnu-gcc", &["-x", "c", "-std=gnu99"]),
    ] {
        match compiles(compiler, args) {
            Some(answer) => assert_eq!(answer, Ok(()), "{compiler} {args:?}"),
            None => println!("no {compiler} here"),
        }
    }
}
