//! The work on one record under its lease: what containing and releasing have in common.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::handler::Deps;
use crate::journal::{CHANGES_A_WRITE, ChangeWrite, JournalError, Lease, Stored, holder_of};
use crate::moment::Moment;
use crate::notice::Stage;
use crate::record::{ATTEMPTS, Record, Status};
use crate::request::{Action, Follows, Request};

/// How long a write is tried that others meet.
const BUSY_AT_MOST: Duration = Duration::from_secs(20);

/// How long wake-ups follow one another at least: the last is kept for a day (`WakeQueue` in the hub's template).
const CALL_FOR: Duration = Duration::from_secs(23 * 3600);

/// Why work on a record ends before its time.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Stop {
    /// A release waits: the lease was given up.
    #[error("a release waits for it")]
    Asked,
    /// Somebody else works on the record, or has changed it since it was loaded: the request is to be judged again.
    #[error("somebody else works on it")]
    Lost,
    /// The journal failed, and a retry can help.
    #[error("{0}")]
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

/// Tries again for a while what others may meet, with a pause that differs from process to process.
pub(crate) struct Tries(tokio::time::Instant);

impl Tries {
    pub(crate) fn begin() -> Self {
        Self(tokio::time::Instant::now() + BUSY_AT_MOST)
    }

    /// Pauses before the next try; false when it is time to give up.
    pub(crate) async fn next(&self) -> bool {
        // 20 to 220 ms: the clock's last digits are as good as dice here.
        let dice = u64::try_from(Moment::now().millis()).unwrap_or(0) % 7 * 30;
        tokio::time::sleep(Duration::from_millis(20 + dice)).await;
        tokio::time::Instant::now() < self.0
    }
}

/// One record that this invocation works on.
pub(crate) struct Work<'a> {
    pub(crate) deps: &'a Deps,
    pub(crate) request: &'a Request,
    pub(crate) record: Record,
    holder: String,
    expected: Option<u64>,
    /// Why the journal does without this record, if it does.
    pub(crate) unjournalled: Option<JournalError>,
    /// The changes that the journal does not know of.
    unwritten: Vec<ChangeWrite>,
    /// What goes out beside the work: the next write puts it into the record.
    pub(crate) beside: Rc<RefCell<Beside>>,
}

/// What went out beside the work and is not in the record yet.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// These notices.
    pub(crate) sent: Vec<Stage>,
    /// A wake-up for the message, at this time.
    pub(crate) woken: Option<Moment>,
}

impl<'a> Work<'a> {
    /// Takes a record up as it was loaded (`None`: it is new).
    pub(crate) fn new(
        deps: &'a Deps,
        request: &'a Request,
        mut record: Record,
        holder: String,
        loaded: Option<&Stored>,
    ) -> Self {
        if loaded.is_some_and(|stored| stored.record.status == Status::Containing) {
            record.doubt();
        }
        let expected = loaded.map(|stored| stored.version);
        Self {
            deps,
            request,
            record,
            holder,
            expected,
            unjournalled: None,
            unwritten: vec![],
            beside: Rc::default(),
        }
    }

    /// Whether what failed for a reason that passes is tried again before it is told.
    pub(crate) fn is_tried_again(&self) -> bool {
        let seen = self.record.seen(&self.request.message.id);
        match self.request.follows {
            Follows::Delivery | Follows::WakeUp => seen.is_none_or(|seen| seen.attempts < ATTEMPTS),
            Follows::Try => true,
            Follows::Word { .. } => false,
        }
    }

    /// Whether a notice of this stage has gone out for the message.
    pub(crate) fn has_said(&self, stage: Stage) -> bool {
        let seen = self.record.seen(&self.request.message.id);
        seen.is_some_and(|seen| seen.notices.contains(&stage))
    }

    /// Whether what failed for a reason that passes is left to the wake-ups, with or without a word: one of them is at work, or has
    /// told this before, and others follow until it is done.
    pub(crate) fn is_left_to_wake_ups(&self, stage: Stage) -> bool {
        (matches!(self.request.follows, Follows::Word { .. }) || self.has_said(stage)) && self.unjournalled.is_none()
    }

    /// Why nothing is said now, if so: without the journal, whatever goes on where a delivery has left off can't note what it says, and
    /// as many wake-ups as come would say it again. One of them does, and the first that can write it down.
    pub(crate) fn silenced_by(&self) -> Option<&JournalError> {
        let tells = self.request.follows == Follows::Word { unnoted: true };
        self.unjournalled.as_ref().filter(|_| self.request.goes_on() && !tells)
    }

    /// Whether the wake-up that another invocation needs to go on with this is to be stored. Each is followed by another until the
    /// message is ended, so one that goes on with the work needs no second: as many tries would be as many, and each of them would
    /// try, and store, again.
    pub(crate) fn needs_a_wake_up(&self) -> bool {
        let seen = self.record.seen(&self.request.message.id);
        let stored = seen.filter(|seen| seen.ended.is_none()).and_then(|seen| seen.woken);
        let comes = stored.is_some_and(|at| Moment::now() < at.plus(CALL_FOR));
        self.unjournalled.is_none() && !(self.request.resumed && comes)
    }

    /// Puts what went out meanwhile into the record.
    fn note_beside(&mut self) {
        let Beside { sent, woken } = self.beside.take();
        if woken.is_some() || !sent.is_empty() {
            let seen = self.record.seen_mut(self.request);
            seen.notices.extend(sent);
            seen.woken = woken.or(seen.woken);
        }
    }

    /// Writes the record under a renewed lease.
    pub(crate) async fn save(&mut self, changes: &[ChangeWrite]) -> Result<(), Unsaved> {
        if self.unjournalled.is_some() {
            self.log_unjournalled(changes);
            return Ok(());
        }
        self.write(changes, Then::Hold).await
    }

    /// Writes the record under a renewed lease, without changes: nobody else works on it from here on.
    pub(crate) async fn hold(&mut self) -> Result<(), Stop> {
        match self.save(&[]).await {
            // INVARIANT: without changes there is none that could have moved on.
            Ok(()) | Err(Unsaved::Changed) => Ok(()),
            Err(Unsaved::Stop(stop)) => Err(stop),
        }
    }

    /// Writes the record and gives the lease up. What went on without the journal is tried once more.
    pub(crate) async fn close(&mut self) -> Result<(), Stop> {
        if self.unjournalled.is_some() {
            return self.write_after_all(Then::LetGo).await;
        }
        match self.write(&[], Then::LetGoPatiently).await {
            Ok(()) => Ok(()),
            Err(Unsaved::Stop(stop)) => Err(stop),
            // INVARIANT: without changes there is none that could have moved on.
            Err(Unsaved::Changed) => Ok(()),
        }
    }

    /// Tries once more to write down what went on without the journal; the lease is held as with any other write.
    pub(crate) async fn catch_up(&mut self) -> Result<(), Stop> {
        match self.unjournalled {
            Some(_) => self.write_after_all(Then::Hold).await,
            None => Ok(()),
        }
    }

    async fn write_after_all(&mut self, then: Then) -> Result<(), Stop> {
        let reason = self.unjournalled.take();
        let changes = std::mem::take(&mut self.unwritten);
        let mut written = self.write(&changes, then).await;
        if matches!(written, Err(Unsaved::Changed)) {
            let rest = self.not_held(&changes).await;
            if rest.len() < changes.len() {
                written = self.write(&rest, then).await;
            }
        }
        match written {
            Ok(()) => Ok(()),
            Err(Unsaved::Stop(stop)) => Err(stop),
            Err(Unsaved::Changed) => {
                (self.unjournalled, self.unwritten) = (reason, changes);
                self.log_unjournalled(&[]);
                Ok(())
            }
        }
    }

    /// Those of these changes that an earlier write, whose answer was lost, has not brought into the journal already.
    async fn not_held(&self, changes: &[ChangeWrite]) -> Vec<ChangeWrite> {
        let keys: Vec<String> = changes.iter().map(|change| change.key().to_owned()).collect();
        let present = self.deps.journal.changes(&keys).await.unwrap_or_default();
        let holder = holder_of(&self.record);
        let held = |change: &&ChangeWrite| {
            let item = present.iter().find(|item| item.key == change.key());
            item.is_some_and(|item| item.holders.contains(&holder))
        };
        changes.iter().filter(|change| !held(change)).cloned().collect()
    }

    async fn write(&mut self, changes: &[ChangeWrite], then: Then) -> Result<(), Unsaved> {
        let mut rest = changes;
        loop {
            let (now, later) = rest.split_at(rest.len().min(CHANGES_A_WRITE));
            self.write_once(now, then).await?;
            if self.unjournalled.is_some() {
                self.log_unjournalled(rest);
                return Ok(());
            }
            if later.is_empty() {
                return Ok(());
            }
            rest = later;
        }
    }

    async fn write_once(&mut self, changes: &[ChangeWrite], then: Then) -> Result<(), Unsaved> {
        let tries = Tries::begin();
        // The same record with each try: one that took effect though its answer was lost is known by it.
        self.note_beside();
        self.record.changed = Moment::now();
        loop {
            let now = Moment::now();
            let stored = Stored {
                record: self.record.clone(),
                version: self.expected.unwrap_or(0) + 1,
                lease: (then == Then::Hold).then(|| Lease {
                    holder: self.holder.clone(),
                    until: now.plus(self.deps.settings.lease),
                }),
                asked: None,
            };
            match self.deps.journal.write(&stored, self.expected, changes).await {
                Ok(()) => {
                    self.expected = Some(stored.version);
                    return Ok(());
                }
                Err(JournalError::Changed(_)) => return Err(Unsaved::Changed),
                Err(JournalError::Conflict) => {
                    if self.what_happened(&stored).await? == Happened::OurOwnWrite {
                        return Ok(());
                    }
                }
                Err(JournalError::Busy) => {}
                // Nothing waits for a write that gives the lease up, and what has been said counts as said only with it: a record
                // that stays as it is gets its final notice once more, from the wake-up that finds it.
                Err(JournalError::Unreachable(failure)) if then == Then::LetGoPatiently && failure.passes() => {
                    if !tries.next().await {
                        return self.go_on_without(JournalError::Unreachable(failure));
                    }
                    continue;
                }
                Err(error @ (JournalError::Unreachable(_) | JournalError::Unreadable { .. })) => {
                    return self.go_on_without(error);
                }
            }
            if !tries.next().await {
                return Err(Unsaved::Stop(Stop::Journal(JournalError::Busy)));
            }
        }
    }

    /// A write was refused: somebody asks to stop, somebody else has the record, or an answer to our own write was lost.
    async fn what_happened(&mut self, attempted: &Stored) -> Result<Happened, Unsaved> {
        let loaded = match self.deps.journal.load(&self.record.key).await {
            Ok(loaded) => loaded,
            Err(error) => return self.go_on_without(error).map(|()| Happened::OurOwnWrite),
        };
        let Some(loaded) = loaded else {
            return Err(Unsaved::Stop(Stop::Lost));
        };
        if loaded.version == attempted.version && loaded.record == attempted.record {
            self.expected = Some(loaded.version);
            return Ok(Happened::OurOwnWrite);
        }
        let ours = loaded.lease.as_ref().is_some_and(|lease| lease.holder == self.holder);
        if !ours {
            return Err(Unsaved::Stop(Stop::Lost));
        }
        // Our lease, another version: a release asked, or an earlier write took effect though its answer was lost.
        self.expected = Some(loaded.version);
        if loaded.asked.is_none() || self.request.action == Action::Release {
            return Ok(Happened::Behind);
        }
        // The last state that the journal has is given up as it stands: what the refused write would have added was not done yet,
        // or counts as planned.
        let mut record = loaded.record;
        record.seen_mut(self.request).ended = Some(Stage::Released);
        record.happened(Moment::now(), "contain: stopped, since a release waits");
        let given_up = Stored {
            record,
            version: loaded.version + 1,
            lease: None,
            asked: None,
        };
        match self.deps.journal.write(&given_up, self.expected, &[]).await {
            Ok(()) | Err(JournalError::Conflict) => Err(Unsaved::Stop(Stop::Asked)),
            Err(error) => Err(Unsaved::Stop(Stop::Journal(error))),
        }
    }

    /// Containment goes on without the journal; release can't.
    pub(crate) fn go_on_without(&mut self, error: JournalError) -> Result<(), Unsaved> {
        if self.request.action == Action::Release {
            return Err(Unsaved::Stop(Stop::Journal(error)));
        }
        tracing::error!(entity = %self.record.entity, containment = %self.record.containment, "containment goes on without the journal: {error}");
        self.unjournalled = Some(error);
        Ok(())
    }

    /// The record goes to the log instead, before what it plans is done: nothing else has the state before.
    fn log_unjournalled(&mut self, changes: &[ChangeWrite]) {
        self.unwritten.extend_from_slice(changes);
        let record = serde_json::to_string(&self.record).unwrap_or_default();
        tracing::error!(
            unjournalled = true,
            record,
            "keep this line and import it with `lockdown journal import`"
        );
    }

    /// Runs work while the lease is renewed beside it.
    pub(crate) async fn leased<T>(deps: &Deps, key: &str, holder: &str, work: impl Future<Output = T>) -> T {
        let renewal = async {
            loop {
                // Two renewals may fail before it lapses.
                tokio::time::sleep(deps.settings.lease / 3).await;
                let lease = Lease {
                    holder: holder.to_owned(),
                    until: Moment::now().plus(deps.settings.lease),
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

#[derive(PartialEq)]
enum Happened {
    /// This very write took effect.
    OurOwnWrite,
    /// The version has moved on, and the record is still ours to write.
    Behind,
}

/// What becomes of the lease with a write.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// It is renewed.
    Hold,
    /// It is given up.
    LetGo,
    /// It is given up, and a journal that is out of reach is waited for.
    LetGoPatiently,
}
