//! What a build makes of the golden catalog, and of other spellings.

use std::fmt::Write;

use catalog::{Lambda, Using};
use expect_test::expect;

use crate::host::Memory;
use crate::mistakes::render;

#[test]
fn the_golden_catalog_builds() {
    let built = Memory::golden().build();
    assert_eq!(render(&built), "");
    assert!(built.is_sound());
    let catalog = &built.catalog;
    let mut text = String::new();
    for collection in &catalog.collections {
        writeln!(text, "{} {:?}", collection.name, collection.key).unwrap();
        for p in &collection.projections {
            let marks =
                [(p.explicit, " explicit"), (p.partition, " partition"), (p.key, " key"), (p.must_exist, " must")];
            let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
            writeln!(text, "  {}: {} {}{marks}", p.field, p.pointer, p.types).unwrap();
        }
        let Some(derivation) = &collection.derivation else { continue };
        let Using::Typescript(module) = &derivation.using else { panic!() };
        writeln!(text, "  {} {} {}", module.text.url, module.class, derivation.register_initial).unwrap();
        for t in &derivation.transforms {
            let lambda = |lambda: &Option<Lambda>| match lambda {
                Some(Lambda::Method(name)) => name.clone(),
                _ => "-".to_owned(),
            };
            writeln!(
                text,
                "  {} from {} by {:?}: {}, {}; priority {}, delay {} s, stricter {}",
                t.name,
                t.source,
                t.shuffle,
                lambda(&t.update),
                lambda(&t.publish),
                t.priority,
                t.read_delay_seconds,
                t.source_schema.is_some()
            )
            .unwrap();
        }
    }
    for capture in &catalog.captures {
        writeln!(text, "{} {} every {} s", capture.name, capture.endpoint.connector, capture.interval_seconds).unwrap();
        for binding in &capture.bindings {
            writeln!(text, "  {} -> {}", binding.resource, binding.target).unwrap();
        }
    }
    for materialization in &catalog.materializations {
        let endpoint = &materialization.endpoint;
        writeln!(text, "{} {} {} {}", materialization.name, endpoint.connector, endpoint.config, endpoint.base)
            .unwrap();
        for b in &materialization.bindings {
            writeln!(text, "  {} -> {} {:?} delta {}", b.source, b.resource, b.fields, b.delta_updates).unwrap();
            writeln!(text, "    {:?} but {:?}", b.selector.include, b.selector.exclude).unwrap();
        }
    }
    for test in &catalog.tests {
        writeln!(text, "{}", test.name).unwrap();
        for step in &test.steps {
            let documents: Vec<String> = step.documents.iter().map(|tree| tree.to_value().to_string()).collect();
            writeln!(text, "  {:?} {} {}", step.kind, step.collection, documents.join(" ")).unwrap();
        }
    }
    expect![[""]].assert_eq(&text);
}
