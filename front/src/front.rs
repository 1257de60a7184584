//! What Python sees of the front.

// Of PyO3's macros, which convert every error.
#![allow(clippy::useless_conversion)]

use crate::call::Call;
use crate::limits::Limits;
use crate::replies::answer_of;
use crate::server::{Listener, Sockets};
use crate::shared::{lock, Shared, Status};
use crate::tls::server_config;
use pyo3::exceptions::{PyKeyError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::borrow::Cow;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Listens, ends TLS and HTTP/2, and hands over calls; see the package's documentation.
#[pyclass(frozen)]
pub struct Front {
    pub(crate) shared: Arc<Shared>,
    listeners: Mutex<Vec<Arc<Listener>>>,
    sockets: Mutex<Option<Sockets>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

fn os_error(error: &std::io::Error) -> PyErr {
    PyOSError::new_err(error.to_string())
}

#[pymethods]
impl Front {
    /// Calls of `handed_paths` are handed over, all others passed on to the server that listens on
    /// the unix socket `upstream`, with `secret`. `limits` are those of `Limits`, by name.
    #[new]
    #[pyo3(signature = (handed_paths, upstream, secret, **limits))]
    fn new(
        handed_paths: HashSet<String>,
        upstream: PathBuf,
        secret: String,
        limits: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let limits = limits.map_or_else(|| Ok(Limits::default()), read_limits)?;
        let shared = Arc::new(Shared::new(limits, handed_paths, upstream, secret));
        let sockets = Sockets::new(&shared).map_err(|error| os_error(&error))?;
        Ok(Self {
            shared,
            listeners: Mutex::default(),
            sockets: Mutex::new(Some(sockets)),
            thread: Mutex::default(),
        })
    }

    /// Binds `ip:port` for the listener `name`; returns the port. Before `start`. `shared`: other
    /// processes of this user may listen there as well, and the kernel shares out who connects.
    #[pyo3(signature = (name, address, shared=false))]
    fn listen(&self, name: &str, address: &str, shared: bool) -> PyResult<u16> {
        let address: SocketAddr = address
            .parse()
            .map_err(|_| PyValueError::new_err(format!("{address:?} is no ip:port")))?;
        let mut sockets = lock(&self.sockets);
        let sockets = sockets.as_mut().ok_or_else(|| PyRuntimeError::new_err("started already"))?;
        let mut listeners = lock(&self.listeners);
        let at = listeners.iter().position(|each| each.name == name).unwrap_or(listeners.len());
        let port = sockets.bind(at, address, shared).map_err(|error| os_error(&error))?;
        if at == listeners.len() {
            listeners.push(Arc::new(Listener { name: name.to_owned(), tls: Mutex::default() }));
        }
        Ok(port)
    }

    /// What the listener's handshakes get from now on; connections that stand go on. With an
    /// authority, callers must show a certificate of its. Without this, a listener has no TLS.
    #[pyo3(signature = (name, certificate, key, authority=None))]
    fn set_tls(
        &self,
        name: &str,
        certificate: &[u8],
        key: &[u8],
        authority: Option<&[u8]>,
    ) -> PyResult<()> {
        let config = server_config(certificate, key, authority).map_err(PyValueError::new_err)?;
        let listeners = lock(&self.listeners);
        let listener = listeners
            .iter()
            .find(|each| each.name == name)
            .ok_or_else(|| PyKeyError::new_err(name.to_owned()))?;
        *lock(&listener.tls) = Some(config);
        Ok(())
    }

    /// What calls beyond the bounds are refused with.
    fn set_full(&self, code: u16, details: String, trailing: Vec<(String, Vec<u8>)>) {
        *lock(&self.shared.full) = Status { code, details, trailing };
    }

    /// Accepts connections from now on.
    fn start(&self) -> PyResult<()> {
        let sockets = lock(&self.sockets).take();
        let sockets = sockets.ok_or_else(|| PyRuntimeError::new_err("started already"))?;
        let listeners = lock(&self.listeners).clone();
        let thread =
            sockets.serve(self.shared.clone(), listeners).map_err(|error| os_error(&error))?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// Calls that wait, at most `most`; waits up to `seconds` for the first, without the interpreter
    /// lock. Empty also after `close`.
    fn recv_batch(&self, py: Python<'_>, most: usize, seconds: f64) -> PyResult<Vec<Call>> {
        let wait = seconds_of(seconds)?;
        let calls = py.allow_threads(|| self.shared.take_calls(most, wait));
        Ok(Call::batch(calls))
    }

    /// Ids of calls that were watched and whose callers have left; waits like `recv_batch`.
    fn recv_gone(&self, py: Python<'_>, seconds: f64) -> PyResult<Vec<u64>> {
        let wait = seconds_of(seconds)?;
        Ok(py.allow_threads(|| self.shared.take_gone(wait)))
    }

    /// Answers calls, each once, with one wake-up: `(call, message)`, `(call, message, encoding)`
    /// for a message that is compressed, or `(call, code, details, [(name, value)])`. What a caller
    /// who has left would get is dropped.
    ///
    /// Raises `ValueError` where an item has another form, after the others are on their way; its
    /// call, if it has one, is refused with INTERNAL.
    fn respond(&self, answers: &Bound<'_, PyList>) -> PyResult<()> {
        let mut ready = Vec::with_capacity(answers.len());
        let mut malformed = 0;
        for item in answers {
            let (answer, fine) = answer_of(&item);
            ready.extend(answer);
            malformed += usize::from(!fine);
        }
        lock(&self.shared.outbox).append(&mut ready);
        self.shared.answered.notify_one();
        if malformed > 0 {
            return Err(PyValueError::new_err(format!("{malformed} answers are malformed")));
        }
        Ok(())
    }

    /// Open connections: id, listener, address, age in seconds, and whether a call on it has
    /// authenticated.
    fn connections(&self) -> Vec<(u64, String, String, f64, bool)> {
        let now = Instant::now();
        let listeners = lock(&self.listeners);
        let peers = lock(&self.shared.peers);
        let each = peers.values().map(|peer| {
            let age = now.saturating_duration_since(peer.since).as_secs_f64();
            let name = listeners[peer.listener].name.clone();
            (peer.id, name, peer.address.ip().to_string(), age, peer.is_known())
        });
        each.collect()
    }

    /// The address, as gRPC spells it, and the certificate (DER) of a connection's other end; None
    /// where it has ended.
    fn peer(&self, connection: u64) -> Option<(String, Option<Cow<'static, [u8]>>)> {
        let peer = lock(&self.shared.peers).get(&connection)?.clone();
        Some((peer.name(), peer.certificate.get().map(|der| Cow::Owned(der.clone()))))
    }

    /// Say that a call on the connection has authenticated.
    fn note_caller(&self, connection: u64) {
        if let Some(peer) = lock(&self.shared.peers).get(&connection) {
            peer.known.store(true, Relaxed);
        }
    }

    /// Ends connections at once, with all calls on them.
    #[allow(clippy::needless_pass_by_value)]
    fn end(&self, connections: Vec<u64>) {
        let peers = lock(&self.shared.peers);
        for peer in connections.iter().filter_map(|id| peers.get(id)) {
            peer.ended.notify_one();
        }
    }

    /// Accept no more connections, and tell the callers of all others to open no more calls there.
    /// Calls in progress go on.
    fn drain(&self) {
        self.shared.draining.store(true, Relaxed);
        self.shared.drained.notify_waiters();
        for peer in lock(&self.shared.peers).values() {
            peer.wake();
        }
    }

    /// What is held now, on how many of the connections no call has authenticated, and how many calls
    /// were refused because of a bound.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let shared = &self.shared;
        let counts = PyDict::new_bound(py);
        let (connections, unknown) = {
            let peers = lock(&shared.peers);
            (peers.len(), peers.values().filter(|peer| !peer.is_known()).count())
        };
        counts.set_item("connections", connections)?;
        counts.set_item("unknown", unknown)?;
        counts.set_item("calls", shared.calls.load(Relaxed))?;
        counts.set_item("handed", shared.handed.load(Relaxed))?;
        counts.set_item("received", shared.received.load(Relaxed))?;
        counts.set_item("unsent", shared.unsent.load(Relaxed))?;
        counts.set_item("refused", shared.refused.load(Relaxed))?;
        Ok(counts)
    }

    /// Ends every connection and all waiting.
    fn close(&self, py: Python<'_>) {
        self.shared.close();
        drop(lock(&self.sockets).take());
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            let _ = py.allow_threads(|| thread.join());
        }
    }
}

pub(crate) fn seconds_of(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn read_limits(given: &Bound<'_, PyDict>) -> PyResult<Limits> {
    let mut limits = Limits::default();
    for (name, value) in given {
        let name: String = name.extract()?;
        match name.as_str() {
            "message" => limits.message = value.extract()?,
            "headers" => limits.headers = value.extract()?,
            "streams" => limits.streams = value.extract()?,
            "connections" => limits.connections = value.extract()?,
            "calls" => limits.calls = value.extract()?,
            "handed" => limits.handed = value.extract()?,
            "received" => limits.received = value.extract()?,
            "unsent" => limits.unsent = value.extract()?,
            "handshake" => limits.handshake = seconds_of(value.extract()?)?,
            "whole" => limits.whole = seconds_of(value.extract()?)?,
            "idle" => limits.idle = seconds_of(value.extract()?)?,
            "keepalive" => limits.keepalive = seconds_of(value.extract()?)?,
            "age" => limits.age = seconds_of(value.extract()?)?,
            "write" => limits.write = seconds_of(value.extract()?)?,
            other => return Err(PyValueError::new_err(format!("there is no limit {other:?}"))),
        }
    }
    Ok(limits)
}
