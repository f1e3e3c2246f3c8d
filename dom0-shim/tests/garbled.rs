//! A hypervisor that answers nonsense: the shell must print something sensible, never panic, never hang.

use tarn_abi::call::{Call, ConsoleCall, Request, domain, pool, table};
use tarn_abi::{Bytes, Errno, Regs, Span};
use tarn_dom0_shim::{Hyp, Shell, cmd};

struct Liar {
    seed: u64,
    mode: u32,
    input: Vec<u8>,
    printed: usize,
    calls: u64,
}

impl Liar {
    fn next(&mut self) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.seed ^ self.seed >> 31
    }
}

impl Hyp for Liar {
    fn doze(&mut self, _: Span) {}

    fn call(&mut self, regs: Regs) -> Regs {
        self.calls += 1;
        assert!(self.calls < 2_000_000, "the shell does not stop calling");
        match Call::decode(&regs) {
            Ok(Call::Console(ConsoleCall::Write(c))) => {
                for b in c.bytes.as_slice() {
                    assert!(
                        matches!(*b, b'\r' | b'\n' | b'\t' | 7 | 8 | 0x1b | 0x20..0x7f),
                        "{b:#x} printed"
                    );
                }
                self.printed += c.bytes.as_slice().len();
                return c.answer(Ok(()));
            }
            Ok(Call::Console(ConsoleCall::Read(c))) => {
                if self.input.is_empty() {
                    return c.answer(if c.wait {
                        Err(Errno::Denied)
                    } else {
                        Ok(Bytes::EMPTY)
                    });
                }
                let n = self.input.len().min(Bytes::MAX);
                let bytes = self.input.drain(..n).collect::<Vec<u8>>();
                return c.answer(Ok(Bytes::new(&bytes).unwrap()));
            }
            Ok(_) => {}
            // The command `call` makes what is typed, here 0 and 1; all others make calls that there are.
            Err(_) if regs.0[0] <= 1 && regs.0[1..].iter().all(|x| *x == 0) => {}
            Err(e) => panic!("bad call {regs:x?}: {e}"),
        }
        let mut reply = Regs(std::array::from_fn(|_| {
            match (self.mode, self.next() % 4) {
                (0, _) => self.next(),
                (1, _) | (_, 0) => 0,
                (_, 1) => self.next() % 200,
                (_, 2) => self.next() & 0x3_007f,
                _ => self.next() >> 40,
            }
        }));
        reply.0[0] = match self.next() % 8 {
            0 => Errno::ALL[(self.next() % Errno::ALL.len() as u64) as usize].to_wire(),
            1 => self.next(),
            _ => 0,
        };
        reply
    }
}

#[test]
fn nonsense_is_survived() {
    let mut lines = String::new();
    for c in cmd::COMMANDS {
        lines += &format!("{0}\r{0} x\r{0} 0\r@{0} 1\r{0} \t\r", c.name);
    }
    for seed in 0..60 {
        let mut liar = Liar {
            seed,
            mode: seed as u32 % 3,
            input: lines.clone().into_bytes(),
            printed: 0,
            calls: 0,
        };
        assert_eq!(Shell::new(&mut liar).run(), Errno::Denied);
        assert!(liar.input.is_empty() && liar.printed > 1000);
    }
}

/// One that refuses everything but the console.
struct Refuser(Errno, Vec<u8>, Vec<u8>);

impl Hyp for Refuser {
    fn doze(&mut self, _: Span) {}

    fn call(&mut self, regs: Regs) -> Regs {
        match Call::decode(&regs) {
            Ok(Call::Console(ConsoleCall::Write(c))) => {
                self.2.extend_from_slice(c.bytes.as_slice());
                c.answer(Ok(()))
            }
            Ok(Call::Console(ConsoleCall::Read(c))) if self.1.is_empty() => {
                c.answer(Err(Errno::Denied))
            }
            Ok(Call::Console(ConsoleCall::Read(c))) => {
                let n = self.1.len().min(Bytes::MAX);
                let bytes = self.1.drain(..n).collect::<Vec<u8>>();
                c.answer(Ok(Bytes::new(&bytes).unwrap()))
            }
            _ => Regs::refusal(self.0),
        }
    }
}

#[test]
fn every_refusal_is_an_error() {
    for e in Errno::ALL {
        if matches!(e, Errno::Again | Errno::End) {
            continue;
        }
        let mut r = Refuser(
            *e,
            b"@info; pool-list; list; dmesg; reboot; create vm1; destroy vm1\r".to_vec(),
            vec![],
        );
        Shell::new(&mut r).run();
        let out = String::from_utf8(r.2).unwrap();
        assert_eq!(out.matches("@error\r\n").count(), 7, "{e:?}: {out}");
        // Only the announcement of the reboot.
        assert_eq!(out.matches("@ok\r\n").count(), 1, "{out}");
    }
}

#[test]
fn the_shell_needs_no_call_that_the_table_lacks() {
    let numbers: Vec<u32> = table().map(|r| r.number).collect();
    for n in [domain::List::NUMBER, pool::List::NUMBER] {
        assert!(numbers.contains(&n));
    }
}
