//! `segtide verify`: reads everything a data directory keeps, and says what is not as it was written.

use anyhow::Context as _;

use crate::cli::Verify;
use crate::data;
use crate::output::{Exit, Paint, fail, paint, plural, say, tell};

pub fn run(args: &Verify) -> anyhow::Result<Exit> {
    let path = data::path(&args.place.directory);
    let verified = journal::verify(&data::options(&path)).map_err(data::hinted);
    let verified = verified.with_context(|| format!("{} cannot be verified", path.display()))?;
    if verified.torn_bytes > 0 {
        tell(&data::torn(verified.torn_bytes));
    }
    for finding in &verified.findings {
        say(&format!("{} {}: {}", paint(Paint::Bad, "wrong:"), finding.what, finding.reason));
    }
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
    say(&format!("{} is as it was written: {looked}", path.display()));
    Ok(Exit::Ok)
}
