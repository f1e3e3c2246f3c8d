//! Pictures: the schedule as a Gantt chart, latencies as a distribution (both SVG), and a trace for Perfetto.
//!
//! Plain text out, no dependencies. Must never need more than the report.

use crate::json::quote;
use crate::report::Report;
use std::fmt::Write;

fn colour(v: usize) -> String {
    format!("hsl({},60%,{}%)", (v * 137) % 360, 55 + (v / 8 % 3) * 10)
}

fn escape(s: &str) -> String {
    s.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Stretches of the schedule: (cpu, vCPU, from, to).
pub(crate) fn stretches(r: &Report<'_>) -> Vec<(usize, usize, u64, u64)> {
    let mut open: Vec<Option<(usize, u64)>> = vec![None; r.outcome.idle.len()];
    let mut out = Vec::new();
    for m in &r.outcome.trace {
        if let Some((v, from)) = open[m.cpu].take()
            && m.at > from
        {
            out.push((m.cpu, v, from, m.at));
        }
        open[m.cpu] = m.vcpu.map(|v| (v, m.at));
    }
    for (cpu, o) in open.into_iter().enumerate() {
        if let Some((v, from)) = o {
            out.push((cpu, v, from, r.outcome.duration));
        }
    }
    out
}

/// The schedule between two times: one row per vCPU, one shade per CPU.
pub fn gantt(r: &Report<'_>, from: u64, to: u64) -> String {
    let to = to.max(from + 1);
    let (left, row, width) = (130.0, 18.0, 1200.0);
    let n = r.vcpus.len() as f64;
    let x = |t: u64| left + (t.clamp(from, to) - from) as f64 / (to - from) as f64 * width;
    let mut s = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{}' height='{}' font-family='sans-serif' font-size='11'>\n",
        left + width + 20.0,
        n * row + 50.0
    );
    let _ = writeln!(s, "<rect width='100%' height='100%' fill='white'/>");
    for (i, l) in r.vcpus.iter().enumerate() {
        let y = i as f64 * row + 10.0;
        let _ = writeln!(
            s,
            "<text x='4' y='{:.1}'>{}</text>",
            y + 12.0,
            escape(&l.name)
        );
        let _ = writeln!(
            s,
            "<line x1='{left}' x2='{}' y1='{1}' y2='{1}' stroke='#eee'/>",
            left + width,
            y + row - 2.0
        );
    }
    for (cpu, v, a, b) in stretches(r).into_iter().filter(|s| s.3 > from && s.2 < to) {
        let _ = writeln!(
            s,
            "<rect x='{:.2}' y='{:.1}' width='{:.2}' height='{}' fill='{}'><title>{} on cpu{cpu}, {} to {} us</title></rect>",
            x(a),
            v as f64 * row + 11.0,
            (x(b) - x(a)).max(0.3),
            row - 4.0,
            colour(cpu),
            escape(&r.vcpus[v].name),
            a as f64 / 1e3,
            b as f64 / 1e3
        );
    }
    for k in 0..=10 {
        let t = from + (to - from) / 10 * k;
        let _ = writeln!(
            s,
            "<text x='{:.1}' y='{:.1}' text-anchor='middle'>{:.2} ms</text>",
            x(t),
            n * row + 30.0,
            t as f64 / 1e6
        );
    }
    s.push_str("</svg>\n");
    s
}

/// Share of wake-ups later than x, per vCPU, both axes logarithmic.
pub fn latency(r: &Report<'_>) -> String {
    let (left, top, width, height) = (60.0, 20.0, 700.0, 360.0);
    let mut s = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{}' height='{}' font-family='sans-serif' font-size='11'>\n<rect width='100%' height='100%' fill='white'/>\n",
        left + width + 160.0,
        top + height + 50.0
    );
    // 100 ns to 1 s; 1 to 1e-5.
    let x = |ns: u64| left + ((ns.max(100) as f64).log10() - 2.0) / 7.0 * width;
    let y = |share: f64| top - share.max(1e-5).log10() / 5.0 * height;
    for k in 0..=7 {
        let v = 10u64.pow(2 + k);
        let name = [
            "100 ns", "1 us", "10 us", "100 us", "1 ms", "10 ms", "100 ms", "1 s",
        ][k as usize];
        let _ = writeln!(
            s,
            "<line x1='{0:.1}' x2='{0:.1}' y1='{top}' y2='{1}' stroke='#ddd'/><text x='{0:.1}' y='{2}' text-anchor='middle'>{name}</text>",
            x(v),
            top + height,
            top + height + 16.0
        );
    }
    for k in 0..=5 {
        let v = 10f64.powi(-k);
        let _ = writeln!(
            s,
            "<line x1='{left}' x2='{0}' y1='{1:.1}' y2='{1:.1}' stroke='#ddd'/><text x='4' y='{2:.1}'>{v}</text>",
            left + width,
            y(v),
            y(v) + 4.0
        );
    }
    let mut legend = 0;
    for (i, l) in r.vcpus.iter().enumerate().filter(|(_, l)| l.wake.n > 0) {
        let figures = &r.outcome.vcpus[i].figures;
        let mut v: Vec<u64> = figures
            .all()
            .flat_map(|s| s.wakes.iter().copied())
            .collect();
        v.sort_unstable();
        let n = v.len();
        let mut points = String::new();
        for k in 0..=200usize {
            // Denser towards the tail.
            let share = 10f64.powf(-(k as f64) / 40.0);
            let at = ((1.0 - share) * n as f64) as usize;
            let _ = write!(points, "{:.1},{:.1} ", x(v[at.min(n - 1)]), y(share));
            if share < 1.0 / n as f64 {
                break;
            }
        }
        let _ = writeln!(
            s,
            "<polyline fill='none' stroke='{}' points='{points}'/>",
            colour(i)
        );
        if legend < 20 {
            let _ = writeln!(
                s,
                "<text x='{}' y='{}' fill='{}'>{}</text>",
                left + width + 10.0,
                top + 12.0 + f64::from(legend) * 16.0,
                colour(i),
                escape(&l.name)
            );
            legend += 1;
        }
    }
    let _ = writeln!(
        s,
        "<text x='{left}' y='{}'>wake-ups later than ...</text></svg>",
        top + height + 36.0
    );
    s
}

/// The whole schedule in the Trace Event format.
pub fn perfetto(r: &Report<'_>) -> String {
    let mut s = String::from("{\"traceEvents\":[\n");
    for c in 0..r.outcome.idle.len() {
        let _ = writeln!(
            s,
            "{{\"ph\":\"M\",\"pid\":1,\"tid\":{c},\"name\":\"thread_name\",\"args\":{{\"name\":\"cpu{c}\"}}}},"
        );
    }
    for (cpu, v, a, b) in stretches(r) {
        let _ = writeln!(
            s,
            "{{\"ph\":\"X\",\"pid\":1,\"tid\":{cpu},\"name\":{},\"ts\":{:.3},\"dur\":{:.3}}},",
            quote(&r.vcpus[v].name),
            a as f64 / 1e3,
            (b - a) as f64 / 1e3
        );
    }
    let name = quote(&r.scenario.name);
    let _ = writeln!(
        s,
        "{{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{{\"name\":{name}}}}}]}}"
    );
    s
}
