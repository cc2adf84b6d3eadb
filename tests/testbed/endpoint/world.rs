//! All state, and the way of a call: read, answered after its time, noted.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::Value;

use crate::call::Call;
use crate::ec2::Ec2;
use crate::http::{Asked, Reply};
use crate::iam::{self, Iam};
use crate::journal::{self, Journal};
use crate::log::{Entry, Log, now};
use crate::reply::{self, Outcome, Refused, UNKNOWN};

/// What a reset sets.
#[derive(Clone, Copy)]
pub struct Manner {
    /// How long a call takes.
    pub delay: Duration,
    /// How many interfaces the instance has.
    pub interfaces: usize,
}

/// The endpoint's state.
pub struct World {
    /// What came.
    pub log: Log,
    state: Mutex<State>,
    journal: Mutex<Journal>,
}

struct State {
    delay: Duration,
    iam: Iam,
    ec2: Ec2,
}

impl Default for World {
    fn default() -> Self {
        Self {
            log: Log::default(),
            state: Mutex::new(State {
                delay: Duration::ZERO,
                iam: Iam::default(),
                ec2: Ec2::new(1),
            }),
            journal: Mutex::default(),
        }
    }
}

impl World {
    /// Forgets everything, and takes so long from now on.
    pub fn reset(&self, manner: Manner) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State {
            delay: manner.delay,
            iam: Iam::default(),
            ec2: Ec2::new(manner.interfaces),
        };
        *self.journal.lock().unwrap_or_else(PoisonError::into_inner) = Journal::default();
        self.log.clear();
    }

    /// The answer to a call, when it is due, and what is left to do after it was sent.
    pub fn answer(&self, asked: Asked, connection: u64) -> (Reply, impl FnOnce() + use<'_>) {
        let Asked { parts, body, came } = asked;
        let target = parts.headers.get("x-amz-target").map(|target| target.as_bytes());
        let is_json = target.is_some();
        // A JSON body is read where the answer depends on it, and there alone.
        let unread = Bytes::new();
        let call = Call::read(&parts, if is_json { &unread } else { &body });
        let writes = call.service == "dynamodb" && journal::is_write(&call.action);
        let (outcome, about, delay) = self.carry_out(&call, &body, writes);
        let reply = outcome.unwrap_or_else(|refused| {
            self.complain(&call, &refused);
            reply::refused(&call.service, &refused)
        });
        // A sleep of the thread, exact to some 0.05 ms, where an event loop's timers would be to 1 ms.
        let spent = Duration::from_nanos(now() - came);
        thread::sleep(delay.saturating_sub(spent));
        let (service, action) = (call.service.clone(), call.action.clone());
        let answered = now();
        let held = writes.then(|| self.journal.lock().unwrap_or_else(PoisonError::into_inner));
        let after = move || {
            if let Some(mut journal) = held {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                if let Err(what) = journal.write(&call.action, &body) {
                    self.log.complain(what);
                }
            }
            self.log.called(Entry {
                service,
                action,
                about,
                came,
                answered,
                connection,
            });
        };
        (reply, after)
    }

    fn carry_out(&self, call: &Call, body: &Bytes, writes: bool) -> (Outcome, String, Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut about = iam::about(call);
        let outcome = match call.service.as_str() {
            "iam" | "sts" | "sns" => state.iam.answer(call),
            "sqs" => iam::queue(call),
            "autoscaling" => iam::auto_scaling(call),
            "ec2" => {
                about = state.ec2.about(call);
                state.ec2.answer(call)
            }
            "dynamodb" if writes => Ok(reply::json(&serde_json::json!({}))),
            "dynamodb" => {
                let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
                journal.read(&call.action, &serde_json::from_slice(body).unwrap_or_default())
            }
            _ => Err(UNKNOWN),
        };
        (outcome, about, state.delay)
    }

    /// What AWS would say too is no complaint.
    fn complain(&self, call: &Call, refused: &Refused) {
        if refused.1 != "NoSuchEntity" {
            self.log
                .complain(format!("{}:{} was answered {}", call.service, call.action, refused.1));
        }
    }
}
