//! What a child process costs: wall and processor time, memory, bytes written. From `/proc`, so on Linux only.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How often memory is looked at; the kernel keeps the high-water mark in between.
const TICK: Duration = Duration::from_millis(5);
/// The kernel tells times in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a run cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// From start to end.
    pub(crate) wall_seconds: f64,
    /// Of every process that the run kept busy.
    pub(crate) cpu_seconds: f64,
    /// The most that was resident at once, of the process started.
    pub(crate) memory_bytes: u64,
    /// Bytes that had to go to a disk.
    pub(crate) written_bytes: u64,
}

/// Runs a command to its end. Counts what this process's other children do meanwhile, such as a database.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<Cost> {
    let begin = Instant::now();
    let before = Usage::of_descendants()?;
    let mut child = command.spawn().with_context(|| format!("{command:?} cannot be started"))?;
    let mut memory_bytes = 0;
    let status = loop {
        memory_bytes = memory_bytes.max(peak_bytes(child.id()));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(TICK);
    };
    let wall_seconds = begin.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    let after = Usage::of_descendants()?;
    Ok(Cost {
        wall_seconds,
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        memory_bytes,
        written_bytes: after.written_bytes.saturating_sub(before.written_bytes),
    })
}

/// Processor time of a running child so far, in seconds.
pub(crate) fn cpu_seconds(child: &Child) -> anyhow::Result<f64> {
    let stat = Stat::read(child.id()).with_context(|| format!("process {} is gone", child.id()))?;
    Ok(stat.own_ticks as f64 / TICKS_PER_SECOND)
}

/// The most memory a process had resident so far, in bytes; zero once it has ended.
fn peak_bytes(process: u32) -> u64 {
    field(&format!("/proc/{process}/status"), "VmHWM:").map_or(0, |kilobytes| kilobytes << 10)
}

fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What the children of this process have used, those that live and those that have ended.
struct Usage {
    cpu_seconds: f64,
    written_bytes: u64,
}

impl Usage {
    fn of_descendants() -> anyhow::Result<Self> {
        let own = std::process::id();
        let mut children: HashMap<u32, Vec<(u32, Stat)>> = HashMap::new();
        for entry in fs::read_dir("/proc").context("/proc cannot be read")?.flatten() {
            let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process may end at any time.
            if let Some(stat) = Stat::read(process) {
                children.entry(stat.parent).or_default().push((process, stat));
            }
        }
        let stat = Stat::read(own).context("/proc/self/stat cannot be read")?;
        let mut ticks = stat.ended_ticks;
        let mut written_bytes = written_bytes(own);
        let mut parents = vec![own];
        while let Some(parent) = parents.pop() {
            for (child, stat) in children.remove(&parent).unwrap_or_default() {
                ticks += stat.own_ticks + stat.ended_ticks;
                written_bytes += self::written_bytes(child);
                parents.push(child);
            }
        }
        Ok(Self { cpu_seconds: ticks as f64 / TICKS_PER_SECOND, written_bytes })
    }
}

/// Of a process and its ended children.
fn written_bytes(process: u32) -> u64 {
    field(&format!("/proc/{process}/io"), "write_bytes:").unwrap_or(0)
}

/// A line of `/proc/<process>/stat`.
struct Stat {
    parent: u32,
    own_ticks: u64,
    ended_ticks: u64,
}

impl Stat {
    fn read(process: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything.
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            own_ticks: number(11)? + number(12)?,
            ended_ticks: number(13)? + number(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat() {
        let line = "7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 5 6 7";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.parent, stat.own_ticks, stat.ended_ticks), (3, 23, 27));
    }

    #[test]
    fn a_child_costs_something() {
        let directory = tempfile::tempdir().unwrap();
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 100000 /dev/zero > file; sync file";
        let cost = run(Command::new("sh").args(["-c", script]).current_dir(directory.path())).unwrap();
        assert!(cost.cpu_seconds > 0.0 && cost.memory_bytes > 100_000, "{cost:?}");
        assert!(run(&mut Command::new("false")).is_err());
    }
}
