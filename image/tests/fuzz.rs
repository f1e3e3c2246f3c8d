//! The checker under descriptions that nobody would write: random bytes of TOML's alphabet, real descriptions with
//! pieces cut, doubled and exchanged, and compiled trees with flipped bytes. It always ends, with a verdict that has a
//! place in the text; and what it finds good, Tarn's reader takes as it is.

mod common;
use proptest::prelude::*;
use tarn_board::{Board, Config, Region};
use tarn_image::check::check;
use tarn_image::pack::TARN_AT_MOST;
use tarn_image::source::{Report, Source};

fn source(text: String) -> Source {
    Source {
        name: "fuzz.toml".into(),
        text,
        folder: common::folder(),
    }
}

/// Checks, and checks the checker.
fn judged(text: String) {
    let source = source(text);
    let checked = check(&source, None);
    for finding in &checked.findings {
        let span = finding.span.clone().unwrap_or(0..0);
        assert!(span.end <= source.text.len() && span.start <= span.end);
        assert!(!finding.message.is_empty());
    }
    let _ = Report(&source, &checked.findings).to_string();
    if checked.is_good() {
        let (_, config, _) = checked.view(TARN_AT_MOST).unwrap();
        let refused = |n: &&tarn_board::Diagnostic| n.severity == tarn_board::Severity::Refused;
        assert_eq!(config.notes.iter().find(refused), None);
        let system = checked.system.as_ref().unwrap();
        assert_eq!(config.domains.len(), system.domains.len());
        tarn_image::show::view(&checked, TARN_AT_MOST).unwrap();
    }
}

const WORDS: &[&str] = &[
    "[board]\n",
    "type = \"virt\"\n",
    "type = \"rpi4\"\n",
    "cpus = 4\n",
    "memory = \"256MiB\"\n",
    "memory = \"8MiB\"\n",
    "[[pool]]\n",
    "[[domain]]\n",
    "name = \"a\"\n",
    "name = \"b\"\n",
    "name = \"é\\u0007\"\n",
    "cpus = \"1-2\"\n",
    "cpus = \"0-9999999999\"\n",
    "cpus = [3]\n",
    "scheduler = \"null\"\n",
    "kernel = \"kernel.bin\"\n",
    "initrd = \"kernel.bin\"\n",
    "pool = \"a\"\n",
    "vcpus = 2\n",
    "vcpus = 18446744073709551615\n",
    "weight = 70000\n",
    "affinity = \"1\"\n",
    "affinity = [\"1\", \"\", \"2\"]\n",
    "soft-affinity = \"1\"\n",
    "restart = \"always\"\n",
    "paused = true\n",
    "gic = 2\n",
    "bootargs = \"quiet\"\n",
    "[pool.parameters]\n",
    "[domain.parameters]\n",
    "x = 1\n",
    "spis = 4294967296\n",
    "load = 0xfffffffffffff000\n",
    "[tarn]\n",
    "dom0-script = \"list\"\n",
    "options = \"loglevel=debug\"\n",
    "#",
    "\"",
    "=",
    "]",
    "\0",
    "\r\n",
    "cap = 1\n",
    "console = false\n",
    "shared-memory = [{ id = \"s\", at = 0x7000_0000, size = \"64KiB\" }]\n",
    "shared-memory = [{ id = \"s\", at = 0x6000_0000, size = \"64KiB\", role = \"owner\" }, { id = \"t\" }]\n",
    "shared-memory = [{ id = \"s\", at = 0xffff_ffff_ffff_f000, size = \"17179869183GiB\", board = 0x5000_0000 }]\n",
    "doorbells = [{ port = 1, to = \"d0\" }]\n",
    "doorbells = [{ port = 1, to = \"d1\", spi = 7 }, { port = 4294967296, to = \"a\" }]\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_words(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        judged(words.concat());
    }

    #[test]
    fn plausible_systems(words in prop::collection::vec(prop::sample::select(WORDS), 0..12), n in 1usize..4) {
        let mut text = String::from("[board]\ntype = \"virt\"\n");
        for i in 0..n {
            text += &format!("[[domain]]\nname = \"d{i}\"\nkernel = \"kernel.bin\"\nmemory = \"8MiB\"\n");
            text += words.get(i).unwrap_or(&"");
        }
        judged(text);
    }

    #[test]
    fn any_text(text in "[\\[\\]a-z=\"\n 0-9.#{},\u{e9}]{0,200}") {
        judged(text);
    }

    #[test]
    fn a_spoiled_tree_never_panics_the_reader(at in any::<prop::sample::Index>(), value: u8, more in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..6)) {
        let text = "[board]\ntype = \"virt\"\n[[pool]]\nname = \"p\"\ncpus = 2\n[[domain]]\nname = \"d\"\nkernel = \"kernel.bin\"\n\
                    memory = \"8MiB\"\npool = \"p\"\naffinity = \"2\"\n";
        let checked = check(&source(text.into()), None);
        assert!(checked.is_good());
        let machine = checked.machine.as_ref().unwrap();
        let board = Board::from_dtb(&machine.tree, 0).unwrap();
        let mut tree = checked.compiled.tree.clone();
        for (at, value) in more.into_iter().chain([(at, value)]) {
            let at = at.index(tree.len());
            tree[at] = value;
        }
        let payload = Region::new(0x4400_0000, checked.compiled.size).unwrap();
        if let Ok(config) = Config::from_image(&tree, &board, payload) {
            for domain in &config.domains {
                assert!(payload.covers(&domain.kernel.region));
                assert!(domain.pool < config.pools.len());
            }
        }
    }
}
