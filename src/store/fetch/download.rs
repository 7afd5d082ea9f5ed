//! One file from the hub: resumed where it broke off, and checked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, RANGE};

use super::FetchWatch;
use super::api::{Api, RemoteFile};
use crate::digest::{Digest, DigestStream};
use crate::event::RunEvent;
use crate::store::durable::sync_dir;
use crate::store::{AtPath, StoreError};

/// Times a broken connection is taken up again without any progress.
const MAX_FAILURES: u32 = 5;
/// Wait after the first failure; doubled each time.
const BACKOFF: Duration = Duration::from_millis(200);
/// How often progress is told.
const TELL: Duration = Duration::from_millis(200);

/// What is there of a file.
struct Partial {
    path: PathBuf,
    stream: DigestStream,
    bytes: u64,
    file: File,
    /// What the hub calls the version that the bytes are of; unknown of what an
    /// earlier process left.
    etag: Option<String>,
}

/// How one request ended.
enum Ended {
    Complete,
    Broken(String),
}

impl Api {
    /// Fetches a file to `to`; its digest and size. What an earlier attempt
    /// left is continued, if a digest will tell whether it was right.
    pub(super) fn download(
        &self,
        commit: &str,
        remote: &RemoteFile,
        to: &Path,
        watch: &FetchWatch<'_>,
    ) -> Result<(Digest, u64), StoreError> {
        let path = to.with_file_name(format!(
            "{}.part",
            to.file_name().unwrap_or_default().display()
        ));
        if remote.sha256.is_none() && path.exists() {
            fs::remove_file(&path).at("remove", &path)?;
        }
        let resumed = path.exists();
        let got = self.download_part(commit, remote, &path, watch)?;
        if self.is_right(remote, got) {
            return keep(&path, to, got);
        }
        fs::remove_file(&path).at("remove", &path)?;
        if resumed {
            let got = self.download_part(commit, remote, &path, watch)?;
            if self.is_right(remote, got) {
                return keep(&path, to, got);
            }
            fs::remove_file(&path).at("remove", &path)?;
        }
        let problem = format!("the bytes of {} are not what the hub promised", remote.path);
        Err(self.error(
            problem,
            "try again; if it stays so, the hub or a proxy alters files",
        ))
    }

    fn is_right(&self, remote: &RemoteFile, (digest, bytes): (Digest, u64)) -> bool {
        bytes == remote.size && remote.sha256.is_none_or(|expected| expected == digest)
    }

    fn download_part(
        &self,
        commit: &str,
        remote: &RemoteFile,
        path: &Path,
        watch: &FetchWatch<'_>,
    ) -> Result<(Digest, u64), StoreError> {
        let mut partial = Partial::open(path)?;
        let (mut failures, mut most) = (0, partial.bytes);
        while partial.bytes < remote.size || failures == 0 && remote.size == 0 {
            let problem = match self.request(commit, remote, &mut partial, watch)? {
                Ended::Complete => break,
                Ended::Broken(problem) => problem,
            };
            failures = match partial.bytes > most {
                true => 1,
                false => failures + 1,
            };
            most = most.max(partial.bytes);
            if failures > MAX_FAILURES {
                return Err(self.error(
                    format!("{} broke off: {problem}", remote.path),
                    "run again: what is there is kept",
                ));
            }
            std::thread::sleep(BACKOFF * 2u32.pow(failures - 1));
        }
        partial.file.sync_all().at("sync", path)?;
        Ok(partial.stream.finish())
    }

    /// One request for the rest of a file.
    fn request(
        &self,
        commit: &str,
        remote: &RemoteFile,
        partial: &mut Partial,
        watch: &FetchWatch<'_>,
    ) -> Result<Ended, StoreError> {
        let path = format!("{}/resolve/{commit}/{}", self.model.repo, remote.path);
        let mut request = self.get(&path);
        if partial.bytes > 0 {
            request = request.header(RANGE, format!("bytes={}-", partial.bytes));
            if let Some(etag) = &partial.etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        let response = match request.send() {
            Ok(response) => response,
            Err(error) => return Ok(Ended::Broken(self.offline(&error).to_string())),
        };
        let status = response.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            partial.restart()?;
            return Ok(Ended::Broken("the hub refused to continue it".into()));
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(Ended::Broken(format!("the hub answered {status}")));
        }
        let response = self.accept(response)?;
        if status != StatusCode::PARTIAL_CONTENT {
            partial.restart()?;
        } else if !partial.is_continued_by(&response, remote) {
            partial.restart()?;
            return Ok(Ended::Broken("the hub sent another part of it".into()));
        }
        if partial.bytes == 0 {
            partial.etag = strong_etag(&response);
        }
        self.copy(response, remote, partial, watch)
    }

    fn copy(
        &self,
        mut response: Response,
        remote: &RemoteFile,
        partial: &mut Partial,
        watch: &FetchWatch<'_>,
    ) -> Result<Ended, StoreError> {
        let mut buffer = vec![0; 256 << 10];
        let mut told = Instant::now();
        loop {
            if watch.cancel.load(Ordering::Relaxed) {
                return Err(StoreError::Stopped);
            }
            let count = match response.read(&mut buffer) {
                Ok(0) if partial.bytes < remote.size => {
                    return Ok(Ended::Broken("the connection ended early".into()));
                }
                Ok(0) => return Ok(Ended::Complete),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Ended::Broken(error.to_string())),
            };
            partial.take(&buffer[..count])?;
            if partial.bytes > remote.size {
                return Ok(Ended::Complete);
            }
            if told.elapsed() > TELL || partial.bytes == remote.size {
                told = Instant::now();
                (watch.event)(&RunEvent::Fetching {
                    what: self.model.to_string(),
                    file: remote.path.clone(),
                    done: partial.bytes,
                    total: remote.size,
                });
            }
        }
    }
}

impl Partial {
    /// Takes up what is there, hashing it again.
    fn open(path: &Path) -> Result<Self, StoreError> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)
            .at("write", path)?;
        let mut stream = DigestStream::default();
        let mut bytes = 0;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut buffer).at("read", path)?;
            if count == 0 {
                break;
            }
            stream.update(&buffer[..count]);
            bytes += count as u64;
        }
        Ok(Self {
            path: path.to_owned(),
            stream,
            bytes,
            file,
            etag: None,
        })
    }

    /// True if a partial answer goes on where this ends. Without a digest to check
    /// the whole by, it has to be of the same version too.
    fn is_continued_by(&self, response: &Response, remote: &RemoteFile) -> bool {
        let range = header(response, &CONTENT_RANGE).unwrap_or_default();
        let follows = first_and_size(range) == Some((self.bytes, remote.size));
        let etag = strong_etag(response);
        let is_same = self.bytes == 0 || etag.is_some() && etag == self.etag;
        follows && (is_same || remote.sha256.is_some())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).at("write", &self.path)?;
        self.stream.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<(), StoreError> {
        self.file.set_len(0).at("write", &self.path)?;
        self.stream = DigestStream::default();
        self.bytes = 0;
        self.etag = None;
        Ok(())
    }
}

fn header<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// What tells every byte of a version from those of others.
fn strong_etag(response: &Response) -> Option<String> {
    let etag = header(response, &ETAG)?;
    (!etag.starts_with("W/")).then(|| etag.to_owned())
}

/// The first byte and the whole size of `bytes FIRST-LAST/SIZE`.
fn first_and_size(range: &str) -> Option<(u64, u64)> {
    let (span, size) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = span.split_once('-')?;
    Some((first.parse().ok()?, size.parse().ok()?))
}

fn keep(from: &Path, to: &Path, got: (Digest, u64)) -> Result<(Digest, u64), StoreError> {
    fs::rename(from, to).at("write", to)?;
    sync_dir(to.parent().unwrap_or(Path::new(".")))?;
    Ok(got)
}
