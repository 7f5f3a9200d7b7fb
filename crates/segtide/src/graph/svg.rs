//! A catalog as a picture that every browser shows: a column for each step from what is captured to where it goes.

use std::fmt::Write as _;

use super::{Arrow, Kind};

/// Of letters, which are all as wide, and of boxes, in pixels.
const LETTER: usize = 7;
const LINE: usize = 12;
const PADDING: usize = 12;
const HEIGHT: usize = 32;
/// Between boxes of a column, and around the picture.
const GAP: usize = 24;
/// Between columns, beside what stands at their arrows.
const WAY: usize = 48;

/// Where a box is.
#[derive(Debug, Clone, Copy)]
struct Place {
    x: usize,
    y: usize,
    width: usize,
}

/// Draws nodes and arrows.
pub fn draw(nodes: &[(Kind, &str)], arrows: &[Arrow<'_>]) -> String {
    let (places, width, height) = places(nodes, arrows);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"monospace\" font-size=\"{LINE}\">\n\
         <defs><marker id=\"end\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
         <path d=\"M0 0 8 4 0 8z\" fill=\"#667\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let middle = HEIGHT / 2;
    for (from, to, label) in arrows {
        let (from, to) = (places[*from], places[*to]);
        let (x, y, to_x, to_y) = (from.x + from.width, from.y + middle, to.x, to.y + middle);
        let between = usize::midpoint(x, to_x);
        let _ = writeln!(
            out,
            "<path d=\"M{x} {y}C{between} {y} {between} {to_y} {to_x} {to_y}\" fill=\"none\" stroke=\"#667\" marker-end=\"url(#end)\"/>"
        );
        if !label.is_empty() {
            let _ = writeln!(
                out,
                "<text x=\"{between}\" y=\"{}\" text-anchor=\"middle\" fill=\"#445\" stroke=\"#fff\" stroke-width=\"4\" \
                 paint-order=\"stroke\">{}</text>",
                usize::midpoint(y, to_y) + LINE / 3,
                escaped(label)
            );
        }
    }
    for ((kind, name), Place { x, y, width }) in nodes.iter().zip(&places) {
        let (fill, round) = match kind {
            Kind::Capture => ("#e7f0ff", HEIGHT / 2),
            Kind::Collection => ("#f4f4f4", 3),
            Kind::Materialization => ("#e6f6e8", 9),
        };
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" rx=\"{round}\" fill=\"{fill}\" stroke=\"#667\"/>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x + width / 2,
            y + middle + LINE / 3,
            escaped(name)
        );
    }
    out + "</svg>"
}

/// Where each node is, and how large the picture.
fn places(nodes: &[(Kind, &str)], arrows: &[Arrow<'_>]) -> (Vec<Place>, usize, usize) {
    let letters = |text: &str| text.chars().count() * LETTER;
    // As far to the right as the longest way to it. Where there is a circle that has no end, so there is a last column.
    let mut column = vec![0; nodes.len()];
    for _ in 0..nodes.len() {
        for (from, to, _) in arrows.iter().filter(|(from, to, _)| from != to) {
            column[*to] = column[*to].max(column[*from] + 1).min(nodes.len() - 1);
        }
    }
    let mut places = vec![Place { x: 0, y: 0, width: 0 }; nodes.len()];
    let (mut x, mut bottom) = (GAP, 0);
    for at in 0..=column.iter().copied().max().unwrap_or(0) {
        let mut here: Vec<usize> = (0..nodes.len()).filter(|n| column[*n] == at).collect();
        if here.is_empty() {
            continue;
        }
        // Beside what it comes from, so that few arrows cross.
        here.sort_by_key(|n| {
            let from = arrows.iter().filter(|(_, to, _)| to == n).map(|(from, ..)| places[*from].y);
            let (sum, count) = from.fold((0, 0), |(sum, count), y| (sum + y, count + 1));
            (sum / count.max(1), *n)
        });
        let width = here.iter().map(|n| letters(nodes[*n].1) + 2 * PADDING).max().unwrap_or(0);
        for (row, n) in here.iter().enumerate() {
            places[*n] = Place { x, y: GAP + row * (HEIGHT + GAP), width };
        }
        let leaves = arrows.iter().filter(|(from, ..)| column[*from] == at);
        let label = leaves.map(|(_, _, label)| letters(label)).max().unwrap_or(0);
        bottom = bottom.max(here.len() * (HEIGHT + GAP));
        x += width + label + WAY;
    }
    let right = places.iter().map(|place| place.x + place.width).max().unwrap_or(0);
    (places, right + GAP, bottom + GAP)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch boxes on top of each other, arrows that lead back, a circle without an end, and names that are markup.
    #[test]
    fn nothing_lies_on_anything_else() {
        let names: Vec<String> = (0..6).map(|n| format!("acme/{}", "x".repeat(n * 3))).collect();
        let nodes: Vec<_> = names.iter().map(|name| (Kind::Collection, name.as_str())).collect();
        let arrows = [(0, 1, "a"), (0, 2, ""), (1, 3, "<b>"), (2, 3, ""), (0, 4, ""), (4, 3, "long label"), (5, 5, "")];
        let (places, width, height) = places(&nodes, &arrows);
        for (n, one) in places.iter().enumerate() {
            assert!(one.x + one.width < width && one.y + HEIGHT < height, "{n} is outside");
            for other in &places[n + 1..] {
                assert!(one.x != other.x || one.y.abs_diff(other.y) >= HEIGHT + GAP, "{one:?} {other:?}");
            }
        }
        for (from, to, label) in arrows.iter().filter(|(from, to, _)| from != to) {
            let way = places[*to].x - (places[*from].x + places[*from].width);
            assert!(way >= WAY + label.len() * LETTER, "{from} {to}");
        }
        let circle = draw(&[(Kind::Capture, "<a>"), (Kind::Materialization, "b & c")], &[(0, 1, ""), (1, 0, "")]);
        assert!(circle.contains("&lt;a&gt;") && circle.contains("b &amp; c") && circle.ends_with("</svg>"), "{circle}");
        assert!(draw(&[], &[]).ends_with("</svg>"));
    }
}
