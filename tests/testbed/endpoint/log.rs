//! What came, when, on which connection, and what was wrong with it.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The monotonic clock, put into place among all processes of the machine by one look at the time of day.
static BEGAN: LazyLock<(Instant, u64)> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
});

/// Nanoseconds since 1970, by a clock that never goes back.
pub fn now() -> u64 {
    let (began, offset) = *BEGAN;
    offset + u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// One call.
#[derive(Clone, Serialize)]
pub struct Entry {
    /// The signing name.
    pub service: String,
    /// The operation.
    pub action: String,
    /// What it is about, where that matters: an interface's groups, ...
    pub about: String,
    /// When it had come, in nanoseconds.
    pub came: u64,
    /// When its answer went out, in nanoseconds.
    pub answered: u64,
    /// The number of its connection, from 1.
    pub connection: u64,
}

/// The calls and connections since the last reset.
#[derive(Default)]
pub struct Log {
    inner: Mutex<Inner>,
}

/// What a log holds.
#[derive(Default, Clone, Serialize)]
pub struct Inner {
    /// All calls, in the order of their answers.
    pub calls: Vec<Entry>,
    /// How many connections were opened to each service.
    pub connections: BTreeMap<&'static str, u64>,
    /// What the endpoint didn't know, or what went against its state: figures with such are worth nothing.
    pub complaints: Vec<String>,
    #[serde(skip)]
    last: u64,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a connection; its number.
    pub fn connected(&self, service: &'static str) -> u64 {
        let mut inner = self.lock();
        *inner.connections.entry(service).or_default() += 1;
        inner.last += 1;
        inner.last
    }

    /// Notes a call.
    pub fn called(&self, entry: Entry) {
        self.lock().calls.push(entry);
    }

    /// Notes what is wrong.
    pub fn complain(&self, what: String) {
        self.lock().complaints.push(what);
    }

    /// What there is.
    pub fn all(&self) -> Inner {
        self.lock().clone()
    }

    /// Forgets everything; connections that are open keep their numbers.
    pub fn clear(&self) {
        let mut inner = self.lock();
        *inner = Inner {
            last: inner.last,
            ..Inner::default()
        };
    }
}
