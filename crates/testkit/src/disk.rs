//! A small disk of its own, to be filled: a tmpfs of fixed size.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs, unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    /// A disk of so many bytes and files; `None`, and says so, where this user may not mount.
    #[allow(clippy::print_stderr, reason = "whoever runs the tests should know what was left out")]
    pub fn mount(bytes: u64, files: u64) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("segtide-disk-").tempdir().unwrap();
        let options = format!("size={bytes},nr_inodes={files},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "segtide-test"])
            .arg(directory.path())
            .output()
            .unwrap();
        if !mounted.status.success() {
            let why = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
            eprintln!("skipped: a disk of fixed size cannot be mounted ({why}); run as root to include this test");
            return None;
        }
        Some(Self { directory })
    }

    /// Its root directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes all that is free but so many bytes; dropping what is returned gives it back.
    pub fn fill(&self, free: u64) -> Filler {
        let path = self.path().join("filler");
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let page = [0x5a; 4096];
        while file.write_all(&page).is_ok() {}
        let len = file.metadata().unwrap().len();
        file.set_len(len.saturating_sub(free)).unwrap();
        Filler { path }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, for a process under test may still be ending.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(), "umount failed");
    }
}

/// A file that fills a [`Disk`].
#[derive(Debug)]
pub struct Filler {
    path: PathBuf,
}

impl Drop for Filler {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}
