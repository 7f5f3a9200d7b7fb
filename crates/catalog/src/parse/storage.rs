//! Reading how collections are kept.

use super::Reader;
use crate::{Codec, Fragments, Member, StorageMapping, Tree};

/// What `length` may be, in MiB.
const LENGTH_MIB: std::ops::RangeInclusive<u32> = 32..=4096;

/// Reads `journals` of a collection.
pub(super) fn journals(tree: &Tree, reader: &mut Reader) -> Fragments {
    let journals = reader.object(tree, "`journals`");
    let fragments = journals.and_then(|journals| journals.get("fragments"));
    let Some(object) = fragments.and_then(|tree| reader.object(tree, "`fragments`")) else {
        return Fragments::default();
    };
    let mut read = Fragments::default();
    if let Some(tree) = object.get("length") {
        match reader.unsigned(tree, "`length`") {
            Some(mib) if LENGTH_MIB.contains(&mib) => read.length_bytes = Some(u64::from(mib) << 20),
            Some(_) => reader.wrong(tree, "`length`", "a number of MiB from 32 to 4096"),
            None => {}
        }
    }
    if let Some(tree) = object.get("compressionCodec")
        && let Some(word) = reader.word(tree, "`compressionCodec`")
    {
        match word.value.as_str() {
            "GZIP" => {}
            "NONE" => read.codec = Codec::None,
            "ZSTANDARD" => read.codec = Codec::Zstandard,
            "SNAPPY" | "GZIP_OFFLOAD_DECOMPRESSION" => {
                let what = format!("`compressionCodec: {}`", word.value);
                reader.ignored(word.place, &what).hint("files are packed with gzip, as by `GZIP`");
            }
            _ => reader.wrong(tree, "`compressionCodec`", "`GZIP`, `ZSTANDARD` or `NONE`"),
        }
    }
    read.retention_seconds = object.get("retention").and_then(|tree| positive(tree, "`retention`", reader));
    read.flush_interval_seconds =
        object.get("flushInterval").and_then(|tree| positive(tree, "`flushInterval`", reader));
    read
}

/// A duration of a second at least.
fn positive(tree: &Tree, what: &str, reader: &mut Reader) -> Option<u64> {
    let seconds = reader.seconds(tree, what)?;
    if seconds == 0 {
        reader.wrong(tree, what, "a second or more");
    }
    (seconds > 0).then_some(seconds)
}

/// Reads `storageMappings`.
pub(super) fn mappings(tree: &Tree, reader: &mut Reader) -> Vec<StorageMapping> {
    let members = reader.map(tree, "`storageMappings`");
    members.iter().filter_map(|member| mapping(member, reader)).collect()
}

fn mapping(member: &Member, reader: &mut Reader) -> Option<StorageMapping> {
    let prefix = member.key.clone();
    if !prefix.is_empty() && !prefix.ends_with('/') {
        let message = format!("the prefix `{prefix}` of a storage mapping must be empty or end with `/`");
        reader.report.error("name-invalid", member.key_place, message).hint(format!("write `{prefix}/`"));
        return None;
    }
    let object = reader.object(&member.value, "a storage mapping")?;
    let stores = object.require("stores", reader)?;
    // The first one is written to.
    let store = reader.list(stores, "`stores`").first()?;
    let object = reader.object(store, "a store")?;
    let provider = object.require("provider", reader)?;
    let word = reader.word(provider, "`provider`")?;
    let (scheme, bucket) = match word.value.as_str() {
        "S3" => ("s3", "bucket"),
        "GCS" => ("gs", "bucket"),
        "AZURE" => ("az", "containerName"),
        // Someone else's server, which only they can reach.
        "CUSTOM" => {
            reader
                .ignored(word.place, "`provider: CUSTOM`")
                .hint("`segtide develop --fragments` takes the URL of a bucket");
            return None;
        }
        _ => {
            reader.wrong(provider, "`provider`", "`S3`, `GCS`, `AZURE` or `CUSTOM`");
            return None;
        }
    };
    let bucket = object.require(bucket, reader)?;
    let bucket = reader.word(bucket, "the name of a bucket")?.value;
    let below = object.get("prefix").and_then(|tree| reader.word(tree, "`prefix`")).map_or(String::new(), |w| w.value);
    let below = below.trim_matches('/');
    let slash = if below.is_empty() { "" } else { "/" };
    Some(StorageMapping { prefix, url: format!("{scheme}://{bucket}/{below}{slash}") })
}
