//! Standard input, which a process has once: a file like others, or a pipe.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};

use runtime::ConnectorError;

use super::list::Listed;
use super::pipe::Pipe;
use crate::error;

/// What messages call it.
const NAME: &str = "standard input";

/// What was given to the process.
#[derive(Default)]
pub(crate) struct StandardInput(Mutex<Given>);

#[derive(Default)]
struct Given {
    file: Option<File>,
    /// The pipe once it is read, and a number of this process's.
    pipe: Option<(u64, Pipe)>,
    /// The capture that reads it.
    reader: Option<String>,
}

/// It, as a capture reads it.
pub(super) struct Opened {
    pub(super) listed: Listed,
    pub(super) pipe: Option<Pipe>,
}

impl StandardInput {
    pub(crate) fn new(file: File) -> Self {
        Self(Mutex::new(Given { file: Some(file), ..Given::default() }))
    }

    /// Opens it for a capture, which is then the only one.
    pub(super) fn open(&self, capture: &str) -> Result<Opened, ConnectorError> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &given.reader {
            Some(other) if other != capture => {
                return Err(error::user(format!("{NAME} is read by {other} already; only one capture can have it")));
            }
            _ => given.reader = Some(capture.to_owned()),
        }
        let failed = |reason: io::Error| error::endpoint(format!("{NAME} cannot be read: {reason}"));
        if given.pipe.is_none() {
            let Some(file) = &given.file else {
                return Err(error::user(format!("there is no {NAME} here; run it with `segtide develop`")));
            };
            let stat = file.metadata().map_err(failed)?;
            if stat.is_file() {
                let listed = Listed {
                    name: NAME.to_owned(),
                    path: None,
                    device: stat.dev(),
                    inode: stat.ino(),
                    size: stat.len(),
                };
                return Ok(Opened { listed, pipe: None });
            }
            let file = file.try_clone().map_err(failed)?;
            given.pipe = Some((rand::random(), Pipe::open(file).map_err(failed)?));
        }
        let pipe = given.pipe.as_ref();
        let listed = Listed {
            name: NAME.to_owned(),
            path: None,
            device: 0,
            inode: pipe.map_or(0, |(number, _)| *number),
            size: 0,
        };
        Ok(Opened { listed, pipe: pipe.map(|(_, pipe)| pipe.clone()) })
    }

    /// Takes note that the capture has seen through what is before an offset of the pipe of this number.
    pub(super) fn forget(&self, number: u64, offset: u64) {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pipe)) = given.pipe.as_ref().filter(|(its, _)| *its == number) {
            pipe.forget(offset);
        }
    }

    /// The file it is.
    pub(super) fn file(&self) -> io::Result<File> {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.file.as_ref().map_or_else(|| Err(io::ErrorKind::NotFound.into()), File::try_clone)
    }
}
