//! Tests of recording and of doing it again.

use super::*;

/// A refusal is not recorded: it leaves nothing behind by which what comes next is different.
#[test]
fn a_refused_group_leaves_nothing_behind() {
    let (kind, params, p) = (
        registry::by_name("rtds").unwrap(),
        SchedParams::DEFAULT,
        VcpuParams::DEFAULT,
    );
    let (now, begin) = (Instant(0), parameters(Op::Begin, kind, &params, Instant(0)));
    let places = |refused: bool| {
        let mut tree = Recorded::replaying(&begin).unwrap();
        for c in [CpuId(0), CpuId(1)] {
            tree.alloc_pcpu(c, now).unwrap();
            let _ = tree.switch_sched(c, now);
        }
        let some = |tree: &mut Recorded| tree.alloc_vcpu(NodeId::ROOT, Tag(0), &p, now);
        let [_, gone, _] = [0; 3].map(|_| some(&mut tree).unwrap());
        tree.free_vcpu(gone, now);
        if refused {
            // There is room for two.
            let asked = tree.add_group(NodeId::ROOT, (kind, &params), 3, &p, now);
            assert!(matches!(asked, Err(SchedError::Inadmissible { .. })));
        }
        [0; 2].map(|_| some(&mut tree).unwrap())
    };
    assert_eq!(places(true), places(false));
}
