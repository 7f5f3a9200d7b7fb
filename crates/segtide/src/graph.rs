//! `segtide graph`: a catalog as a picture: what is captured, what is derived from what, and where it goes.

mod svg;

use catalog::Catalog;

use crate::build::{For, build};
use crate::cli::{Graph, GraphFormat};
use crate::output::{Exit, say};

pub fn run(args: &Graph) -> anyhow::Result<Exit> {
    let Some(catalog) = build(&args.source.source, For::Tests)? else { return Ok(Exit::Invalid) };
    say(&match args.format {
        GraphFormat::Mermaid => mermaid(&catalog),
        GraphFormat::Dot => dot(&catalog),
        GraphFormat::Svg => {
            let (nodes, arrows) = edges(&catalog);
            svg::draw(&nodes, &arrows)
        }
    });
    Ok(Exit::Ok)
}

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Capture,
    Collection,
    Materialization,
}

/// An arrow between two nodes, and what stands at it.
pub type Arrow<'c> = (usize, usize, &'c str);

/// The nodes, and the arrows between them.
fn edges(catalog: &Catalog) -> (Vec<(Kind, &str)>, Vec<Arrow<'_>>) {
    let mut nodes: Vec<(Kind, &str)> = Vec::new();
    nodes.extend(catalog.captures.iter().map(|c| (Kind::Capture, c.name.as_str())));
    nodes.extend(catalog.collections.iter().map(|c| (Kind::Collection, c.name.as_str())));
    nodes.extend(catalog.materializations.iter().map(|m| (Kind::Materialization, m.name.as_str())));
    let at = |kind: Kind, name: &str| nodes.iter().position(|node| *node == (kind, name));
    let mut arrows = Vec::new();
    let mut arrow = |from: (Kind, &str), to: (Kind, &str), label| {
        if let (Some(from), Some(to)) = (at(from.0, from.1), at(to.0, to.1)) {
            arrows.push((from, to, label));
        }
    };
    for capture in &catalog.captures {
        for binding in &capture.bindings {
            arrow((Kind::Capture, &capture.name), (Kind::Collection, &binding.target), "");
        }
    }
    for collection in &catalog.collections {
        for transform in collection.derivation.iter().flat_map(|derivation| &derivation.transforms) {
            arrow((Kind::Collection, &transform.source), (Kind::Collection, &collection.name), &*transform.name);
        }
    }
    for materialization in &catalog.materializations {
        for binding in &materialization.bindings {
            arrow((Kind::Collection, &binding.source), (Kind::Materialization, &materialization.name), "");
        }
    }
    (nodes, arrows)
}

fn mermaid(catalog: &Catalog) -> String {
    let (nodes, arrows) = edges(catalog);
    let text = |text: &str| text.replace('"', "#quot;");
    let node = |(n, (kind, name)): (usize, &(Kind, &str))| {
        let (open, close) = match kind {
            Kind::Capture => ("([", "])"),
            Kind::Collection => ("[", "]"),
            Kind::Materialization => ("[(", ")]"),
        };
        format!("  n{n}{open}\"{}\"{close}", text(name))
    };
    let arrow = |(from, to, label): &(usize, usize, &str)| match label.is_empty() {
        true => format!("  n{from} --> n{to}"),
        false => format!("  n{from} -- \"{}\" --> n{to}", text(label)),
    };
    let lines = nodes.iter().enumerate().map(node).chain(arrows.iter().map(arrow));
    std::iter::once("flowchart LR".to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}

fn dot(catalog: &Catalog) -> String {
    let (nodes, arrows) = edges(catalog);
    let node = |(n, (kind, name)): (usize, &(Kind, &str))| {
        let shape = match kind {
            Kind::Capture => "oval",
            Kind::Collection => "box",
            Kind::Materialization => "cylinder",
        };
        format!("  n{n} [label={name:?} shape={shape}]")
    };
    let arrow = |(from, to, label): &(usize, usize, &str)| match label.is_empty() {
        true => format!("  n{from} -> n{to}"),
        false => format!("  n{from} -> n{to} [label={label:?}]"),
    };
    let lines = nodes.iter().enumerate().map(node).chain(arrows.iter().map(arrow));
    let head = "digraph catalog {\n  rankdir=LR".to_owned();
    std::iter::once(head).chain(lines).chain(["}".to_owned()]).collect::<Vec<_>>().join("\n")
}
