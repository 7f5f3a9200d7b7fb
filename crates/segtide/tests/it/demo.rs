//! `segtide demo`: what a newcomer tries first.

use std::fs;

use crate::kit::segtide;

/// Would catch a demo that does not start where nothing was prepared, moves nothing, ends with an error, or leaves a catalog
/// behind that the other commands refuse.
#[test]
fn it_runs_by_itself_and_leaves_a_catalog_to_play_with() {
    let directory = tempfile::tempdir().unwrap();
    let said = segtide(directory.path(), &["demo", "--for", "5s", "--directory", "try", "--port", "0"]);
    assert_eq!(said.code, 0, "{said:?}");

    let totals: Vec<u64> = said
        .out
        .lines()
        .filter_map(|line| line.split_once("total ")?.1.split_once(" events")?.0.parse().ok())
        .collect();
    assert!(totals.len() >= 2 && totals[0] > 0 && totals.is_sorted_by(|a, b| a < b), "{}", said.out);
    assert!(
        said.out.contains("✓ tables    try/segmentation.db (segment_memberships, segment_profiles)"),
        "{}",
        said.out
    );
    assert!(said.out.contains(" toggles came in "), "{}", said.out);
    assert!(directory.path().join("try/segmentation.db").is_file());
    assert!(directory.path().join("try/segtide_develop/fragments/examples/segment/events").is_dir());

    // What it says to do next, works.
    let tests = segtide(directory.path(), &["test", "--source", "try/tests.flow.yaml"]);
    assert_eq!(tests.code, 0, "{tests:?}");

    // Another time it goes on, with the files as the user has changed them.
    let file = directory.path().join("try/derive.flow.yaml");
    let changed = fs::read_to_string(&file).unwrap() + "# mine\n";
    fs::write(&file, &changed).unwrap();
    let again = segtide(directory.path(), &["demo", "--for", "1s", "--directory", "try", "--port", "0"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), changed);
}
