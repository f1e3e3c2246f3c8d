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

/// About how wide a text is: 13 px, no font in particular.
fn width(text: &str) -> u32 {
    text.chars().count() as u32 * 8
}

struct Canvas(String);

impl Canvas {
    fn rect(&mut self, (x, y): (u32, u32), (w, h): (u32, u32), fill: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"4\" fill=\"{fill}\" stroke=\"#444\"/>"
        );
    }

    fn cpu(&mut self, (x, y): (u32, u32), number: &str) {
        self.rect((x, y), (CPU, CPU), "#c9dcf2");
        for (dy, size, text) in [(16, 10, "CPU"), (34, 15, number)] {
            let (x, y) = (x + CPU / 2, y + dy);
            let _ = writeln!(
                self.0,
                "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" text-anchor=\"middle\">{text}</text>"
            );
        }
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
        let of_pool = |(domain, _): &&(String, String)| names.contains(&domain.as_str());
        let lines = names.len() + view.given.iter().filter(of_pool).count();
        let height = 34 + rows * (CPU + GAP) + lines as u32 * LINE + 10;
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
            canvas.cpu(at, cpu);
        }
        let mut line = y + 34 + rows * (CPU + GAP) + 14;
        for name in names {
            let about = match view.config.domains.iter().find(|d| d.name == name) {
                Some(d) => {
                    let weight = d.weight.map_or(String::new(), |w| format!(", weight {w}"));
                    let cap = d.cap.filter(|c| *c > 0);
                    let cap = cap.map_or(String::new(), |c| format!(", cap {c} %"));
                    format!(
                        "{name}: {} {}, {}{weight}{cap}",
                        d.cpus,
                        if d.cpus == 1 { "vCPU" } else { "vCPUs" },
                        size(d.memory_kib << 10)
                    )
                }
                None => format!("{name}: 1 vCPU, 4 MiB, the prompt"),
            };
            canvas.text((32, line), &about, "normal");
            line += LINE;
            for (_, what) in view.given.iter().filter(|(domain, _)| domain == name) {
                canvas.text((48, line), &format!("is given {what}"), "normal");
                line += LINE;
            }
        }
        y += height + 12;
    }
    if !view.links.is_empty() {
        let lines: usize = view.links.iter().map(|(_, sides)| 1 + sides.len()).sum();
        let height = 12 + lines as u32 * LINE;
        canvas.rect((20, y), (LEFT - 20, height), "#f3eef7");
        let mut line = y + 22;
        for (what, sides) in &view.links {
            canvas.text((32, line), what, "bold");
            line += LINE;
            for side in sides {
                canvas.text((48, line), side, "normal");
                line += LINE;
            }
        }
        y += height + 12;
    }
    let left = y;

    // Pieces get a height of their own; in proportion, everything but free memory would vanish.
    let x = LEFT + 40;
    let (mut y, mut widest) = (56, 0);
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
        widest = widest.max(width(&what));
        y += height;
    }
    let (width, height) = (x + MAP + 10 + widest + 20, left.max(y) + 20);
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
