//! The system as a picture: pools with their CPUs and domains to the left, the map of memory to the right.
//!
//! Plain SVG 1.1, no script, no font that might be missing; readable on light and dark paper.

use super::{Kind, View, members, size};
use std::fmt::Write;

const CPU: u32 = 44;
const GAP: u32 = 8;
const LINE: u32 = 20;
const LEFT: u32 = 460;
const MAP: u32 = 140;

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

struct Canvas(String);

impl Canvas {
    fn rect(&mut self, (x, y): (u32, u32), (w, h): (u32, u32), fill: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"4\" fill=\"{fill}\" stroke=\"#444\"/>"
        );
    }

    fn text(&mut self, (x, y): (u32, u32), text: &str, weight: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.0,
            "<text x=\"{x}\" y=\"{y}\" font-weight=\"{weight}\">{text}</text>"
        );
    }
}

/// The picture.
pub fn svg(view: &View<'_>) -> String {
    let mut canvas = Canvas(String::new());
    let mut y = 56;
    let across = (LEFT - 40) / (CPU + GAP);
    for (n, pool) in view.config.pools.iter().enumerate() {
        let cpus: Vec<String> = pool.cpus.iter().map(|cpu| cpu.to_string()).collect();
        let rows = (cpus.len() as u32).div_ceil(across).max(1);
        let names = members(view, n);
        let height = 34 + rows * (CPU + GAP) + names.len() as u32 * LINE + 10;
        canvas.rect((20, y), (LEFT - 20, height), "#eef2f7");
        canvas.text(
            (32, y + 22),
            &format!("{} ({})", pool.name, pool.sched),
            "bold",
        );
        for (i, cpu) in (0u32..).zip(&cpus) {
            let at = (
                32 + i % across * (CPU + GAP),
                y + 34 + i / across * (CPU + GAP),
            );
            canvas.rect(at, (CPU, CPU), "#c9dcf2");
            canvas.text((at.0 + 14, at.1 + 27), cpu, "normal");
        }
        let mut line = y + 34 + rows * (CPU + GAP) + 14;
        for name in names {
            let about = match view.config.domains.iter().find(|d| d.name == name) {
                Some(d) => {
                    let weight = d.weight.map_or(String::new(), |w| format!(", weight {w}"));
                    let cap = d.cap.filter(|c| *c > 0);
                    let cap = cap.map_or(String::new(), |c| format!(", cap {c} %"));
                    format!(
                        "{name}: {} vCPUs, {}{weight}{cap}",
                        d.cpus,
                        size(d.memory_kib << 10)
                    )
                }
                None => format!("{name}: 1 vCPU, 4 MiB, the prompt"),
            };
            canvas.text((32, line), &about, "normal");
            line += LINE;
        }
        y += height + 12;
    }
    let left = y;

    // Pieces get a height of their own; in proportion, everything but free memory would vanish.
    let x = LEFT + 40;
    let mut y = 56;
    for piece in &view.memory {
        let fill = match piece.kind {
            Kind::Tarn => "#f2b8a0",
            Kind::Payload => "#f5dfa8",
            Kind::Reserved => "#d0d0d0",
            Kind::Free => "#d8eed2",
        };
        let mib = piece.region.size() >> 20;
        let height = 26 + 6 * (64 - mib.leading_zeros());
        canvas.rect((x, y), (MAP, height), fill);
        canvas.text(
            (x + 8, y + 18),
            &format!("{:#x}", piece.region.base()),
            "normal",
        );
        let what = format!("{}, {}", piece.what, size(piece.region.size()));
        canvas.text((x + MAP + 10, y + 18), &what, "normal");
        y += height;
    }
    let (width, height) = (x + MAP + 380, left.max(y) + 20);
    let title = escape(&format!(
        "{}: {} CPUs, {} of RAM",
        view.name,
        view.board.cpus.len(),
        size(view.board.ram.iter().map(|r| r.size()).sum())
    ));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"20\" y=\"32\" font-size=\"18\" font-weight=\"bold\">{title}</text>\n{}</svg>\n",
        canvas.0
    )
}
