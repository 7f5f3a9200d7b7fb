//! How much memory the program may take, and which part of it everything that holds documents may.
//!
//! One number, `--memory`, of which all bounds of queues and caches are shares. Unless it is given, it follows from what the
//! machine has, or the control group that the program runs in.

use std::fs;
use std::path::Path;

use bytesize::ByteSize;
use catalog::Catalog;

const MIB: u64 = 1 << 20;
/// Below this not even a document of usual size would have room everywhere.
const BYTES_MIN: u64 = 128 * MIB;
/// What is taken without being asked for more.
const DEFAULT_BYTES_MAX: u64 = 512 * MIB;
/// A transaction smaller than this is all overhead, a larger one no faster.
const TRANSACTION_BYTES: (usize, usize) = (256 << 10, 16 << 20);
/// Memory of one script engine: lambdas need some however many there are, and are not worth more.
const ENGINE_BYTES: (usize, usize) = (16 << 20, 64 << 20);
/// A file of documents is packed in memory.
const FRAGMENT_BYTES_MAX: usize = 16 << 20;

/// Tasks that share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Captures, pushed documents, and shards of derivations: what has transactions of its own in memory.
    pub growing: usize,
    /// Shards of derivations.
    pub derivations: usize,
    /// Shards of materializations.
    pub materializations: usize,
}

impl Tasks {
    /// Those of a catalog whose keys are divided among so many shards.
    pub fn of(catalog: &Catalog, shards: u32) -> Self {
        let shards = shards as usize;
        let derivations = shards * catalog.collections.iter().filter(|c| c.derivation.is_some()).count();
        let materializations = shards * catalog.materializations.len();
        Self { growing: 1 + catalog.captures.len() + derivations, derivations, materializations }
    }
}

/// What each part may hold, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Bodies of HTTP requests, from their first byte until they are answered.
    pub bodies: usize,
    /// One body, packed or unpacked.
    pub body: usize,
    /// Unpacked bodies that wait to be ingested.
    pub requests: usize,
    /// What one transaction of a capture or derivation reads, and what it publishes.
    pub transaction: usize,
    /// Deltas that wait to be committed.
    pub commit_queue: usize,
    /// Registers, and combined documents.
    pub tasks: usize,
    /// What tasks have read and not processed.
    pub reading: usize,
    /// The newest documents.
    pub live_cache: usize,
    /// Documents read again.
    pub read_cache: usize,
    /// Documents of one file.
    pub fragment: usize,
    /// The store under the log.
    pub store: usize,
    /// Pages of one SQLite table's database.
    pub pages: usize,
    /// One script engine.
    pub engine: usize,
}

/// Divides so much memory. The parts that are filled at the same time add up to all of it.
pub fn share(bytes: u64, tasks: Tasks) -> Shares {
    let part = usize::try_from(bytes / 64).unwrap_or(usize::MAX);
    let each = |parts: usize, among: usize| parts * part / among.max(1);
    Shares {
        bodies: 6 * part,
        // There is room for three quarters of all bodies in large ones.
        body: 4 * part,
        requests: 3 * part,
        // One is open while another is in flight.
        transaction: each(8, 2 * tasks.growing).clamp(TRANSACTION_BYTES.0, TRANSACTION_BYTES.1),
        commit_queue: 2 * part,
        tasks: 10 * part,
        reading: 3 * part,
        live_cache: 8 * part,
        read_cache: 4 * part,
        fragment: (2 * part).min(FRAGMENT_BYTES_MAX),
        store: 12 * part,
        pages: each(4, tasks.materializations),
        engine: each(4, tasks.derivations).clamp(ENGINE_BYTES.0, ENGINE_BYTES.1),
    }
}

/// An amount of memory as it is asked for.
pub fn asked(text: &str) -> Result<ByteSize, String> {
    let least = ByteSize(BYTES_MIN).display().iec();
    let asked: ByteSize = text.parse().map_err(|_| format!("write it like 512MiB or 2GiB, {least} or more"))?;
    match asked.0 >= BYTES_MIN {
        true => Ok(asked),
        false => Err(format!("{} is too little; write it like 512MiB or 2GiB, {least} or more", asked.display().iec())),
    }
}

/// The memory to take: what is asked for, or what the machine leaves.
pub fn budget(asked: Option<ByteSize>) -> u64 {
    let read = |path: &str| fs::read_to_string(path).ok();
    asked.map_or_else(|| default_of(machine(&read), group(&read)), |asked| asked.0)
}

/// A quarter of a machine, which others use too, or three quarters of a group, which is there for this; the system's own
/// memory for the files that are written counts there as well.
fn default_of(machine: Option<u64>, group: Option<u64>) -> u64 {
    let machine = machine.map_or(DEFAULT_BYTES_MAX, |bytes| bytes / 4);
    let group = group.map_or(u64::MAX, |bytes| bytes / 4 * 3);
    machine.min(group).clamp(BYTES_MIN, DEFAULT_BYTES_MAX)
}

/// Reads a file; `None` where there is none.
type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The memory of the machine.
fn machine(read: Read<'_>) -> Option<u64> {
    let text = read("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The least limit of the control groups that the program is in, of either version of them.
fn group(read: Read<'_>) -> Option<u64> {
    let text = read("/proc/self/cgroup")?;
    let limits = text.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (root, file, place) = match (fields.next(), fields.next()) {
            (Some(""), Some(place)) => ("/sys/fs/cgroup", "memory.max", place),
            (Some(which), Some(place)) if which.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", place)
            }
            _ => ("", "", ""),
        };
        // A limit of any group above counts. In a container the root is its own, whatever the place is called outside.
        let groups = Path::new(place).ancestors().map(|place| place.to_string_lossy().trim_matches('/').to_owned());
        groups.map(move |place| format!("{root}/{place}/{file}").replace("//", "/"))
    });
    limits.filter_map(|path| read(&path)?.trim().parse().ok()).min()
}

/// The same options, with these shares of memory.
pub fn of_log(options: journal::Options, shares: &Shares) -> journal::Options {
    journal::Options {
        live_cache_bytes: shares.live_cache,
        read_cache_bytes: shares.read_cache,
        commit_queue_bytes: shares.commit_queue,
        fragment_bytes_max: shares.fragment as u64,
        store_bytes: shares.store,
        ..options
    }
}

/// The same options, with these shares of memory.
pub fn of_tasks(options: runtime::Options, shares: &Shares) -> runtime::Options {
    runtime::Options {
        transaction_bytes_max: shares.transaction as u64,
        memory_bytes: shares.tasks,
        read_bytes: shares.reading,
        request_bytes_max: shares.requests,
        ..options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_whole() {
        let tasks = |growing, derivations, materializations| Tasks { growing, derivations, materializations };
        let cases = [
            (128, tasks(1, 0, 0)),
            (384, tasks(4, 1, 1)),
            (384, tasks(4, 1, 3)),
            (1024, tasks(1, 0, 1)),
            (1024, tasks(4, 2, 2)),
            (16 << 10, tasks(4, 2, 2)),
        ];
        for (mib, tasks) in cases {
            let shares = share(mib * MIB, tasks);
            let Shares { bodies, requests, commit_queue, reading, live_cache, read_cache, store, .. } = shares;
            let transactions = 2 * tasks.growing * shares.transaction;
            let engines = tasks.derivations * shares.engine;
            let pages = tasks.materializations * shares.pages;
            let fixed = bodies + requests + commit_queue + shares.tasks + reading + live_cache + read_cache + store;
            let whole = fixed + transactions + pages + engines;
            assert!(whole as u64 <= mib * MIB, "{mib} MiB: {} MiB of {shares:?}", whole >> 20);
            assert!(2 * shares.fragment <= read_cache, "{mib} MiB: {shares:?}");
            assert!(shares.body <= bodies / 4 * 3, "a body of the largest size has room: {shares:?}");
        }
    }

    #[test]
    fn many_tasks_have_little_each() {
        let many = Tasks { growing: 1000, derivations: 500, materializations: 100 };
        let shares = share(1024 * MIB, many);
        assert_eq!((shares.transaction, shares.engine), (TRANSACTION_BYTES.0, ENGINE_BYTES.0));
    }

    #[test]
    fn the_machine_or_its_group_says_how_much() {
        let v2 = "0::/system.slice/segtide.service\n";
        let v1 = "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/\n";
        let meminfo = ("/proc/meminfo", "MemTotal:       24731708 kB\nMemFree:  2598384 kB\n");
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u64);
        let cases: &[Case<'_>] = &[
            ("a large machine", &[meminfo], 512),
            ("a small one", &[("/proc/meminfo", "MemTotal: 1048576 kB\n")], 256),
            ("a tiny one", &[("/proc/meminfo", "MemTotal: 262144 kB\n")], 128),
            ("nothing to read", &[], 512),
            ("no limit", &[meminfo, ("/proc/self/cgroup", v2), ("/sys/fs/cgroup/memory.max", "max\n")], 512),
            (
                "a group",
                &[
                    meminfo,
                    ("/proc/self/cgroup", v2),
                    ("/sys/fs/cgroup/system.slice/segtide.service/memory.max", "536870912\n"),
                ],
                384,
            ),
            (
                "a group above it",
                &[
                    meminfo,
                    ("/proc/self/cgroup", v2),
                    ("/sys/fs/cgroup/system.slice/segtide.service/memory.max", "max\n"),
                    ("/sys/fs/cgroup/system.slice/memory.max", "629145600\n"),
                ],
                450,
            ),
            (
                "a container, which sees itself as the root",
                &[meminfo, ("/proc/self/cgroup", "0::/../x\n"), ("/sys/fs/cgroup/memory.max", "536870912\n")],
                384,
            ),
            (
                "the first version of groups",
                &[
                    meminfo,
                    ("/proc/self/cgroup", v1),
                    ("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "536870912\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                384,
            ),
        ];
        for (name, files, mib) in cases {
            let read = |path: &str| files.iter().find(|(file, _)| *file == path).map(|(_, text)| (*text).to_owned());
            assert_eq!(default_of(machine(&read), group(&read)) >> 20, *mib, "{name}");
        }
    }
}
