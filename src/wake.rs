//! Wake-ups: messages that SQS delivers later, so that what a dead invocation has left half done is finished by another one.
//!
//! A wake-up names a record and carries no secret; what it leads to is in the module `resume`.
//!
//! Source: Amazon SQS API Reference, "SendMessage" (a delay of at most 900 s).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::aws::Failure;
use crate::record::Record;
use crate::request::Request;

/// The longest delay that SQS takes.
const LONGEST_DELAY: Duration = Duration::from_secs(900);

/// One wake-up, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// The key of the record to look at.
    pub record: String,
    /// The containment: a later one of the same entity is none of this wake-up's business.
    pub containment: String,
    /// The message whose work may have been left.
    pub message: String,
    /// How many wake-ups went before this one.
    #[serde(default)]
    pub after: u32,
}

impl Wake {
    /// For the work on this record that the request asked for.
    pub fn of(request: &Request, record: &Record) -> Self {
        Self {
            record: record.key.clone(),
            containment: record.containment.to_string(),
            message: request.message.id.clone(),
            after: 0,
        }
    }
}

/// Where wake-ups are stored.
#[derive(Debug)]
pub struct Wakeups {
    client: aws_sdk_sqs::Client,
    queue: String,
    hub: String,
}

impl Wakeups {
    /// In the queue by this URL, which invokes the function; `hub` is the hub's account.
    pub fn new(client: aws_sdk_sqs::Client, queue: &str, hub: &str) -> Self {
        Self {
            client,
            queue: queue.to_owned(),
            hub: hub.to_owned(),
        }
    }

    /// Stores a wake-up beside the work on a record, for the case that the work dies. Where that fails, the message's redelivery is
    /// left, minutes later: it is logged, and the work goes on. Says whether it is stored.
    pub async fn store_beside(&self, wake: &Wake, delay: Duration) -> bool {
        let stored = self.store(wake, delay).await;
        if let Err(failure) = &stored {
            tracing::warn!(record = wake.record, "no wake-up is stored for this work: {failure}");
        }
        stored.is_ok()
    }

    /// Stores a wake-up that comes after this delay (at most 15 minutes).
    ///
    /// # Errors
    /// What SQS answers; then there is no wake-up.
    pub async fn store(&self, wake: &Wake, delay: Duration) -> Result<(), Failure> {
        let call = "sqs:SendMessage";
        let body = serde_json::to_string(wake).map_err(|error| self.refused("NotWritten", error.to_string()))?;
        let seconds = i32::try_from(delay.min(LONGEST_DELAY).as_secs()).unwrap_or(900);
        let message = self.client.send_message().queue_url(&self.queue).message_body(body);
        let answer = message.delay_seconds(seconds).send().await;
        answer
            .map(drop)
            .map_err(|error| Failure::of(call, &self.queue, &self.hub, &error))
    }
    /// That a wake-up is not stored, for a reason of our own.
    pub(crate) fn refused(&self, code: &str, why: String) -> Failure {
        Failure::own("sqs:SendMessage", &self.queue, &self.hub, code, why)
    }
}
