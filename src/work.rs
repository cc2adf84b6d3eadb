//! The work on one record under its lease: what containing and releasing have in common.

use std::future::Future;

use futures_util::future::{Either, select};

use crate::handler::Deps;
use crate::journal::{CHANGES_A_WRITE, ChangeWrite, JournalError, LEASE_SECONDS, Lease, RENEW_EVERY, Stored};
use crate::moment::Moment;
use crate::record::Record;
use crate::request::Request;

/// Why work on a record ends before its time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stop {
    /// A release waits: the lease was given up.
    Asked,
    /// Somebody else works on the record.
    Lost,
    /// Too little of the invocation's time is left to open anything.
    NoTime,
    /// The journal failed, and a retry can help.
    Journal(JournalError),
}

/// Why a write was not made.
#[derive(Debug)]
pub(crate) enum Unsaved {
    /// Work ends.
    Stop(Stop),
    /// The items of these changes have moved on: look at them again.
    Changed,
}

/// One record that this invocation works on.
pub(crate) struct Work<'a> {
    pub(crate) deps: &'a Deps,
    pub(crate) request: &'a Request,
    pub(crate) record: Record,
    holder: String,
    expected: Option<u64>,
    asked: Option<String>,
    /// Why the journal does without this record, if it does.
    pub(crate) unjournalled: Option<JournalError>,
}

impl<'a> Work<'a> {
    /// Takes a record up as it was loaded (`None`: it is new).
    pub(crate) fn new(
        deps: &'a Deps,
        request: &'a Request,
        record: Record,
        holder: String,
        loaded: Option<&Stored>,
    ) -> Self {
        let asked = None;
        Self {
            deps,
            request,
            record,
            holder,
            expected: loaded.map(|stored| stored.version),
            asked,
            unjournalled: None,
        }
    }

    /// Writes the record under a renewed lease.
    pub(crate) async fn save(&mut self, changes: &[ChangeWrite]) -> Result<(), Unsaved> {
        self.write(changes, true).await
    }

    /// Writes the record and gives the lease up.
    pub(crate) async fn close(&mut self) -> Result<(), Stop> {
        match self.write(&[], false).await {
            Ok(()) => Ok(()),
            Err(Unsaved::Stop(stop)) => Err(stop),
            // INVARIANT: without changes there is none that could have moved on.
            Err(Unsaved::Changed) => Ok(()),
        }
    }

    async fn write(&mut self, changes: &[ChangeWrite], hold: bool) -> Result<(), Unsaved> {
        if self.unjournalled.is_some() {
            return Ok(());
        }
        let mut rest = changes;
        loop {
            let (now, later) = rest.split_at(rest.len().min(CHANGES_A_WRITE));
            self.write_once(now, hold).await?;
            if later.is_empty() {
                return Ok(());
            }
            rest = later;
        }
    }

    async fn write_once(&mut self, changes: &[ChangeWrite], hold: bool) -> Result<(), Unsaved> {
        for _ in 0..3 {
            let now = Moment::now();
            self.record.changed = now;
            let stored = Stored {
                record: self.record.clone(),
                version: self.expected.unwrap_or(0) + 1,
                lease: hold.then(|| Lease {
                    holder: self.holder.clone(),
                    until: now.plus_seconds(LEASE_SECONDS),
                }),
                asked: self.asked.clone().filter(|_| hold),
            };
            match self.deps.journal.write(&stored, self.expected, changes).await {
                Ok(()) => {
                    self.expected = Some(stored.version);
                    return Ok(());
                }
                Err(JournalError::Changed(_)) => return Err(Unsaved::Changed),
                Err(JournalError::Conflict) => match self.what_happened(&stored).await? {
                    Happened::OurOwnWrite => return Ok(()),
                    Happened::NothingYet => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                },
                Err(error @ (JournalError::Unreachable(_) | JournalError::Unreadable { .. })) => {
                    return self.go_on_without(error);
                }
            }
        }
        Err(Unsaved::Stop(Stop::Lost))
    }

    /// A write was refused: somebody asks to stop, somebody else holds the record, or an answer to our own write was lost.
    async fn what_happened(&mut self, attempted: &Stored) -> Result<Happened, Unsaved> {
        let loaded = match self.deps.journal.load(&self.record.key).await {
            Ok(loaded) => loaded,
            Err(error) => return self.go_on_without(error).map(|()| Happened::OurOwnWrite),
        };
        let Some(loaded) = loaded else {
            return if self.expected.is_none() {
                Ok(Happened::NothingYet)
            } else {
                Err(Unsaved::Stop(Stop::Lost))
            };
        };
        let ours = loaded.lease.as_ref().is_some_and(|lease| lease.holder == self.holder);
        if loaded.version == attempted.version && loaded.record == attempted.record {
            self.expected = Some(loaded.version);
            return Ok(Happened::OurOwnWrite);
        }
        if !ours {
            return Err(Unsaved::Stop(Stop::Lost));
        }
        if loaded.asked.is_some() && self.asked.is_none() {
            // What has been done so far is written down, and the lease given up: the release goes on from there.
            self.expected = Some(loaded.version);
            let given_up = Stored {
                version: loaded.version + 1,
                lease: None,
                asked: None,
                ..attempted.clone()
            };
            return match self.deps.journal.write(&given_up, self.expected, &[]).await {
                Ok(()) => Err(Unsaved::Stop(Stop::Asked)),
                Err(error) => Err(Unsaved::Stop(Stop::Journal(error))),
            };
        }
        Ok(Happened::NothingYet)
    }

    /// Containment goes on without the journal; release can't.
    fn go_on_without(&mut self, error: JournalError) -> Result<(), Unsaved> {
        if self.request.action == crate::request::Action::Release {
            return Err(Unsaved::Stop(Stop::Journal(error)));
        }
        tracing::error!(entity = %self.record.entity, containment = %self.record.containment, "containment goes on without the journal: {error}");
        self.unjournalled = Some(error);
        Ok(())
    }

    /// Runs work while the lease is renewed beside it.
    pub(crate) async fn leased<T>(deps: &Deps, key: &str, holder: &str, work: impl Future<Output = T>) -> T {
        let renewal = async {
            loop {
                tokio::time::sleep(RENEW_EVERY).await;
                let lease = Lease {
                    holder: holder.to_owned(),
                    until: Moment::now().plus_seconds(LEASE_SECONDS),
                };
                if let Err(error) = deps.journal.renew(key, &lease).await {
                    tracing::warn!(key, "lease not renewed: {error}");
                }
            }
        };
        match select(Box::pin(work), Box::pin(renewal)).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => never,
        }
    }
}

enum Happened {
    OurOwnWrite,
    NothingYet,
}
