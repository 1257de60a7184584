//! What Python sees of a call.

// PyO3's macros convert errors that need it or not.
#![allow(clippy::useless_conversion)]

use crate::front::{seconds_of, Front};
use crate::shared::{Handed, Status};
use crate::turned_away::{have_same, Asked};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::GILOnceCell;
use pyo3::types::PyBytes;
use std::borrow::Cow;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::Arc;
use std::time::Instant;

/// Of how many different metadata the next call's is compared with.
const COMPARED: usize = 8;

/// What Python has read of metadata, for all calls of a batch that have the same.
struct ReadMetadata(GILOnceCell<PyObject>);

/// A whole call. Dropped unanswered, its stream is reset.
#[pyclass(frozen)]
pub struct Call {
    pub(crate) handed: Arc<Handed>,
    read: Arc<ReadMetadata>,
}

impl Call {
    /// Calls that came together.
    pub(crate) fn batch(handed: Vec<Arc<Handed>>) -> Vec<Self> {
        let mut calls: Vec<Self> = Vec::with_capacity(handed.len());
        let mut different: Vec<usize> = Vec::new();
        for each in handed {
            let same = different.iter().rev().take(COMPARED).map(|&at| &calls[at]);
            let same = same.into_iter().find(|call| have_same(&call.handed.headers, &each.headers));
            let read = if let Some(call) = same {
                call.read.clone()
            } else {
                different.push(calls.len());
                Arc::new(ReadMetadata(GILOnceCell::new()))
            };
            calls.push(Self { handed: each, read });
        }
        calls
    }
}

#[pymethods]
impl Call {
    /// Of this process, and of no other call.
    #[getter]
    fn id(&self) -> u64 {
        self.handed.id
    }

    /// The method's path.
    #[getter]
    fn path(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.handed.path)
    }

    /// The message, as its caller compressed it if it did.
    #[getter]
    fn message<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new_bound(py, &self.handed.message)
    }

    /// Whether the caller says that it compressed the message.
    #[getter]
    fn is_compressed(&self) -> bool {
        self.handed.compressed
    }

    /// What `read` makes of all metadata, names and values as they came; `read` once for calls that
    /// came together with the same.
    fn metadata(&self, py: Python<'_>, read: &Bound<'_, PyAny>) -> PyResult<PyObject> {
        let found = self.read.0.get_or_try_init(py, || {
            let pairs = self.handed.headers.iter();
            let pairs = pairs.map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_bytes())));
            read.call1((pairs.collect::<Vec<(&str, Cow<'_, [u8]>)>>(),)).map(Bound::unbind)
        })?;
        Ok(found.clone_ref(py))
    }

    /// The values of one name.
    fn values(&self, name: &str) -> Vec<Cow<'_, [u8]>> {
        let values = self.handed.headers.get_all(name).iter();
        values.map(|value| Cow::Borrowed(value.as_bytes())).collect()
    }

    /// The connection's id.
    #[getter]
    fn connection(&self) -> u64 {
        self.handed.peer.id
    }

    /// The caller's address as gRPC spells it.
    #[getter]
    fn peer(&self) -> String {
        self.handed.peer.name()
    }

    /// The caller's certificate, DER, which the handshake has verified.
    #[getter]
    fn certificate(&self) -> Option<Cow<'_, [u8]>> {
        self.handed.peer.certificate.get().map(|der| Cow::Borrowed(&der[..]))
    }

    /// Seconds until the caller's deadline, 0 after it; None without one.
    fn time_remaining(&self) -> Option<f64> {
        let deadline = self.handed.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    /// Whether the caller still waits.
    fn is_active(&self) -> bool {
        !self.handed.gone.load(Relaxed)
            && !self.handed.is_answered()
            && self.handed.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }

    /// Have `Front.recv_gone` tell if the caller leaves before the answer.
    fn watch(&self, front: &Front) {
        self.handed.watched.store(true, SeqCst);
        if self.handed.gone.load(SeqCst) {
            front.shared.leave(&self.handed);
        }
    }

    /// For `seconds`, calls with the same certificate and metadata are refused with this status, if
    /// their message begins with the same `beginning` bytes. This one is not.
    #[allow(clippy::needless_pass_by_value)]
    fn refuse_alike(
        &self,
        front: &Front,
        beginning: usize,
        seconds: f64,
        code: u16,
        details: String,
        trailing: Vec<(String, Vec<u8>)>,
    ) -> PyResult<()> {
        let call = &self.handed;
        let (Some(beginning), false) = (call.message.get(..beginning), call.compressed) else {
            return Err(PyValueError::new_err("the message is compressed, or shorter"));
        };
        let until = Instant::now() + seconds_of(seconds)?;
        let status = Status { code, details, trailing };
        let asked = Asked { message: beginning, ..call.asked() };
        front.shared.turned_away.add(asked, until, status);
        Ok(())
    }

    /// Say that this call has authenticated.
    fn note_caller(&self) {
        self.handed.peer.known.store(true, Relaxed);
    }
}
