//! `segtide verify`: reads everything a data directory keeps, and says what is not as it was written.

use anyhow::Context as _;
use serde_json::json;

use crate::cli::Verify;
use crate::data;
use crate::output::{Exit, Paint, fail, plural, tell};
use crate::rows::{Cell, Rows};

pub fn run(args: &Verify) -> anyhow::Result<Exit> {
    let path = data::path(&args.place.directory);
    if !path.exists() {
        fail(&data::missing(&path));
        return Ok(Exit::NotFound);
    }
    let verified = journal::verify(&data::options(&path)).map_err(data::hinted);
    let verified = verified.with_context(|| format!("{} cannot be verified", path.display()))?;
    if verified.torn_bytes > 0 {
        tell(&data::torn(verified.torn_bytes));
    }
    let mut rows = Rows::new(args.output.format());
    for finding in &verified.findings {
        rows.row(&[("what", json!(finding.what)), ("reason", json!(finding.reason))], || {
            vec![
                Cell("wrong".into(), finding.what.clone(), Some(Paint::Bad)),
                Cell("reason".into(), finding.reason.clone(), None),
            ]
        })?;
    }
    rows.end()?;
    let looked = format!(
        "{} of {} bytes, {} of {} bytes not yet in files, {}",
        plural(verified.fragments, "file"),
        verified.fragment_bytes,
        plural(verified.blocks, "block"),
        verified.block_bytes,
        plural(verified.records, "record"),
    );
    let wrong = verified.findings.len() as u64 + verified.more;
    if wrong > 0 {
        fail(&format!("{} in {}; {looked}. Nothing was changed", plural(wrong, "mistake"), path.display()));
        return Ok(Exit::Failed);
    }
    tell(&format!("{} is as it was written: {looked}", path.display()));
    Ok(Exit::Ok)
}
