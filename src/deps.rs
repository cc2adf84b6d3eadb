//! What the work needs: made once for the process, and kept between invocations.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};

use crate::aws::Accounts;
use crate::handler::Outcome;
use crate::ingress::sns::Delivery;
use crate::journal::Journal;
use crate::moment::Moment;
use crate::notice::{Publisher, Report, Stage};
use crate::request::Request;
use crate::rules::RuleSet;
use crate::rules::problem::Problems;
use crate::settings::Settings;
use crate::wake::Wakeups;

/// What a flood of messages would have mailed again and again is mailed once in so many seconds.
const PAUSE_SECONDS: u64 = 600;

/// How many refusals are remembered, so that a copy of a message is refused silently.
const REFUSALS_KEPT: usize = 1000;

/// All that the work needs, made once for the process.
#[derive(Debug)]
pub struct Deps {
    /// What is configured.
    pub settings: Settings,
    /// The member accounts.
    pub accounts: Accounts,
    /// The journal.
    pub journal: Journal,
    /// The notices.
    pub publisher: Publisher,
    /// The wake-ups.
    pub wakeups: Wakeups,
    /// What is done about events, or why the rules can't be loaded.
    pub rules: Result<RuleSet, Problems>,
    /// What tells this process from all others.
    pub process: String,
    works: Cell<u64>,
    deadline: Cell<Moment>,
    last_stranger: Pause,
    last_without_rules: Pause,
    strangers: Cell<u64>,
    refused: RefCell<(HashSet<String>, VecDeque<String>)>,
    /// The records that this invocation has contained, to be looked at again before it ends.
    contained: RefCell<Vec<String>>,
    /// The records whose traces this watch is to look for.
    traces_due: RefCell<Vec<String>>,
}

/// Keeps one notice from being mailed again too soon.
#[derive(Debug, Default)]
struct Pause(Cell<Option<Moment>>);

impl Pause {
    /// Whether it may be mailed now; then the next pause begins.
    fn is_over(&self) -> bool {
        let now = Moment::now();
        let over = self.0.get().is_none_or(|last| now >= last.plus_seconds(PAUSE_SECONDS));
        if over {
            self.0.set(Some(now));
        }
        over
    }
}

impl Deps {
    /// Puts the parts together.
    pub fn new(
        settings: Settings,
        accounts: Accounts,
        journal: Journal,
        publisher: Publisher,
        wakeups: Wakeups,
        process: String,
    ) -> Self {
        Self {
            settings,
            accounts,
            journal,
            publisher,
            wakeups,
            rules: Ok(RuleSet::new(vec![], vec![])),
            process,
            works: Cell::new(0),
            deadline: Cell::default(),
            last_stranger: Pause::default(),
            last_without_rules: Pause::default(),
            strangers: Cell::new(0),
            refused: RefCell::default(),
            contained: RefCell::default(),
            traces_due: RefCell::default(),
        }
    }

    /// The same with these rules; without, there are none.
    #[must_use]
    pub fn with_rules(self, rules: Result<RuleSet, Problems>) -> Self {
        Self { rules, ..self }
    }

    /// Whether a notice is due that there are no rules to judge events by.
    pub(crate) fn says_that_rules_fail(&self) -> bool {
        self.last_without_rules.is_over()
    }

    /// A new invocation begins, which Lambda ends at this time.
    pub(crate) fn begin(&self, deadline: Moment) {
        self.deadline.set(deadline);
    }

    /// The records that this invocation has contained; none is left.
    pub(crate) fn to_look_at_again(&self) -> Vec<String> {
        self.contained.take()
    }

    /// When the present invocation is ended by Lambda.
    pub(crate) fn deadline(&self) -> Moment {
        self.deadline.get()
    }

    /// A name for one piece of work, under which it holds leases. A retried invocation may have the same request id: this differs.
    pub(crate) fn new_holder(&self) -> String {
        self.works.set(self.works.get() + 1);
        format!("{}/{}", self.process, self.works.get())
    }

    /// Notes a record that is to be looked at again before the invocation ends.
    pub(crate) fn look_again_at(&self, key: &str) {
        self.contained.borrow_mut().push(key.to_owned());
    }

    /// Notes a record whose traces are to be looked for at the end of the watch.
    pub(crate) fn trace_later(&self, key: &str) {
        self.traces_due.borrow_mut().push(key.to_owned());
    }

    /// Those records; none is left.
    pub(crate) fn to_trace(&self) -> Vec<String> {
        self.traces_due.take()
    }

    /// Refuses a request with a notice, once for a message and ARN.
    pub(crate) async fn refuse(&self, request: &Request, reason: &str) -> Outcome {
        if !self.first_refusal(&format!("{} {}", request.message.id, request.entity.named)) {
            return Outcome::Ended(Stage::Refused);
        }
        tracing::warn!(entity = %request.entity.named, "refused: {reason}");
        self.publisher.publish(&Report::refused(request, reason)).await;
        Outcome::Ended(Stage::Refused)
    }

    /// Whether this was not refused before: a copy of a message is refused silently.
    pub(crate) fn first_refusal(&self, what: &str) -> bool {
        let (known, order) = &mut *self.refused.borrow_mut();
        if !known.insert(what.to_owned()) {
            return false;
        }
        order.push_back(what.to_owned());
        if order.len() > REFUSALS_KEPT
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }

    /// Whether a message carries the secret that its action needs.
    pub(crate) fn admits(&self, delivery: &Delivery) -> bool {
        let own = self.settings.release_external_id.as_ref().filter(|_| delivery.releases);
        let secret = own.unwrap_or(&self.settings.external_id);
        delivery.external_id.as_deref().is_some_and(|said| secret.matches(said))
    }

    /// Refuses a message without the right secret: nothing of it is repeated, and not every one is mailed.
    pub(crate) async fn refuse_stranger(&self) {
        self.strangers.set(self.strangers.get() + 1);
        tracing::warn!(
            count = self.strangers.get(),
            "a message came without the right ExternalId"
        );
        if !self.last_stranger.is_over() {
            return;
        }
        let summary = format!(
            "A message without the right ExternalId was refused ({} since this process began): nothing was read or changed in any account",
            self.strangers.get()
        );
        let next = vec![
            "If it was yours: publish it with the ExternalId of this deployment (a release may need its own)"
                .to_owned(),
            "If not: see in CloudTrail who publishes to the request topic, and take that right away".to_owned(),
            format!(
                "Further ones are logged and counted, and mailed again after {} minutes at the earliest",
                PAUSE_SECONDS / 60
            ),
        ];
        self.publisher
            .publish(&Report {
                next,
                ..Report::bare(Stage::Refused, summary)
            })
            .await;
    }
}
