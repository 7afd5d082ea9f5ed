//! Requests to a layer, one at a time, each with an end. The only place that
//! knows that the library underneath is asynchronous.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::runtime::Runtime;

use super::problem::{LayerProblem, Missed};

/// Longest message of a server passed on, in characters.
const MAX_MESSAGE: usize = 300;

/// A place for objects by name.
pub(super) struct Remote {
    store: Box<dyn ObjectStore>,
    prefix: Path,
    /// Until dropped. It has no threads but those of blocking file operations.
    runtime: Option<Runtime>,
    /// Most time a request takes, retries included.
    patience: Duration,
    /// Never shown.
    secrets: Vec<String>,
    /// It is a folder: reading back costs little.
    pub(super) is_folder: bool,
}

/// What [`Remote::new`] takes.
pub(super) struct Place {
    pub(super) store: Box<dyn ObjectStore>,
    pub(super) prefix: String,
    pub(super) is_folder: bool,
}

impl Remote {
    pub(super) fn new(
        place: Place,
        patience: Duration,
        secrets: Vec<String>,
    ) -> Result<Self, LayerProblem> {
        let failed = |problem: String| LayerProblem::Configured(problem);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            store: place.store,
            prefix: Path::parse(&place.prefix).map_err(|error| failed(error.to_string()))?,
            runtime: Some(runtime),
            patience,
            secrets,
            is_folder: place.is_folder,
        })
    }

    /// The bytes of an object of at most `max`.
    pub(super) fn read(&self, name: &str, max: u64) -> Result<Vec<u8>, Missed> {
        match self.get(name, GetOptions::default(), max) {
            Err(Missed::WrongSize) => Err(Missed::TooLarge(max)),
            other => other,
        }
    }

    /// Exactly these bytes of an object.
    pub(super) fn read_range(&self, name: &str, start: u64, end: u64) -> Result<Vec<u8>, Missed> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(start..end)),
            ..GetOptions::default()
        };
        let bytes = self.get(name, options, end - start)?;
        match bytes.len() as u64 == end - start {
            true => Ok(bytes),
            false => Err(Missed::WrongSize),
        }
    }

    fn get(&self, name: &str, options: GetOptions, max: u64) -> Result<Vec<u8>, Missed> {
        let path = self.path(name);
        self.wait(async {
            let result = self.store.get_opts(&path, options).await;
            let result = result.map_err(|error| self.missed(&error))?;
            let mut bytes = Vec::new();
            let mut stream = result.into_stream();
            // The server's word for the size is not taken: what comes is counted.
            while let Some(piece) = stream.next().await {
                let piece = piece.map_err(|error| self.missed(&error))?;
                if (bytes.len() + piece.len()) as u64 > max {
                    return Err(Missed::WrongSize);
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes)
        })
    }

    /// The size of an object in bytes.
    pub(super) fn size(&self, name: &str) -> Result<u64, Missed> {
        let path = self.path(name);
        self.wait(async {
            let meta = self.store.head(&path).await;
            meta.map(|meta| meta.size)
                .map_err(|error| self.missed(&error))
        })
    }

    /// Writes an object that must not be there.
    pub(super) fn create(&self, name: &str, bytes: Vec<u8>) -> Result<(), Missed> {
        self.put_as(name, bytes, PutMode::Create)
    }

    /// Writes an object, whether or not it is there.
    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), Missed> {
        self.put_as(name, bytes, PutMode::Overwrite)
    }

    fn put_as(&self, name: &str, bytes: Vec<u8>, mode: PutMode) -> Result<(), Missed> {
        let path = self.path(name);
        self.wait(async {
            let options = PutOptions::from(mode);
            let put = self.store.put_opts(&path, bytes.into(), options).await;
            put.map(drop).map_err(|error| self.missed(&error))
        })
    }

    /// Writes an object in parts, as `next` gives them until it gives none. It
    /// becomes visible only if all of them arrive.
    pub(super) fn put_parts<E: From<Missed>>(
        &self,
        name: &str,
        next: &mut dyn FnMut() -> Result<Option<Vec<u8>>, E>,
    ) -> Result<(), E> {
        let path = self.path(name);
        let failed = |error: Error| self.missed(&error);
        let begun = self.wait(async { self.store.put_multipart(&path).await.map_err(failed) });
        let mut upload = begun?;
        let sent = loop {
            match next() {
                Ok(None) => break Ok(()),
                Ok(Some(part)) => {
                    let part = upload.put_part(part.into());
                    if let Err(missed) = self.wait(async { part.await.map_err(failed) }) {
                        break Err(E::from(missed));
                    }
                }
                Err(error) => break Err(error),
            }
        };
        let ended = sent.and_then(|()| {
            let done = self.wait(async { upload.complete().await.map(drop).map_err(failed) });
            done.map_err(E::from)
        });
        if ended.is_err() {
            let _ = self.wait(async { upload.abort().await.map_err(failed) });
        }
        ended
    }

    fn path(&self, name: &str) -> Path {
        let name = Path::from(name);
        self.prefix.parts().chain(name.parts()).collect()
    }

    /// Waits for a request, but not for ever.
    fn wait<T>(&self, request: impl Future<Output = Result<T, Missed>>) -> Result<T, Missed> {
        let Some(runtime) = &self.runtime else {
            return Err(Missed::Failed("it is closed".into()));
        };
        runtime.block_on(async {
            match tokio::time::timeout(self.patience, request).await {
                Ok(answer) => answer,
                Err(_) => {
                    let seconds = self.patience.as_secs_f64();
                    Err(Missed::Failed(format!("no answer in {seconds:.0} s")))
                }
            }
        })
    }

    fn missed(&self, error: &Error) -> Missed {
        match error {
            Error::NotFound { .. } => Missed::Absent,
            Error::AlreadyExists { .. } | Error::Precondition { .. } => Missed::Exists,
            Error::NotImplemented { .. } => Missed::NoCreate,
            other => Missed::Failed(self.shown(other)),
        }
    }

    /// An error as people may read it: short, on one line, without secrets.
    fn shown(&self, error: &Error) -> String {
        let mut text = error.to_string();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut text: String = printable.take(MAX_MESSAGE).collect();
        text.truncate(text.trim_end().len());
        text
    }
}

impl Drop for Remote {
    /// Leaves without waiting for a file operation that hangs.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
