//! Publishes notices. A failed one never stands in the way: it is logged and counted.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_json::json;

use super::{Report, fit, mail};
use crate::aws::Failure;
use crate::settings::Settings;
use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;

/// SNS's own word for too many calls (API Reference, "Common error types"), which the SDK does not take for one and does not retry.
const THROTTLED: &str = "Throttled";
/// The pauses before a throttled notice is sent again, each twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Where notices go.
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    audit: String,
    failure: String,
    hub: String,
    lost: Cell<u64>,
    /// What has been said since somebody began to listen.
    heard: RefCell<Option<Vec<Report>>>,
}

impl Publisher {
    /// Publishes to the two topics of these settings.
    pub fn new(client: Client, settings: &Settings) -> Self {
        let (audit, failure, hub) = (
            settings.audit_topic.clone(),
            settings.failure_topic.clone(),
            settings.hub().to_string(),
        );
        Self {
            client,
            audit,
            failure,
            hub,
            lost: Cell::new(0),
            heard: RefCell::new(None),
        }
    }

    /// Keeps what is said from here on, for somebody who waits for the answer.
    pub(crate) fn listen(&self) {
        self.heard.replace(Some(vec![]));
    }

    /// What was said since, oldest first, whether or not a topic has it.
    pub(crate) fn heard(&self) -> Vec<Report> {
        self.heard.take().unwrap_or_default()
    }

    /// Publishes a notice to the audit topic, and to the failure topic too where somebody must act. Says whether the audit topic
    /// has it.
    pub async fn publish(&self, report: &Report) -> bool {
        if let Some(heard) = &mut *self.heard.borrow_mut() {
            heard.push(report.clone());
        }
        if report.is_trouble() {
            let (audit, _) = tokio::join!(self.send(&self.audit, report), self.send(&self.failure, report));
            return audit;
        }
        self.send(&self.audit, report).await
    }

    async fn send(&self, topic: &str, report: &Report) -> bool {
        let mut call = self
            .client
            .publish()
            .topic_arn(topic)
            .subject(mail::subject(report))
            .message_structure("json")
            .message(fit::message(report));
        let attributes = [
            ("Stage", Some(report.stage.to_string())),
            ("Action", report.action.map(|action| action.to_string())),
            ("EntityType", report.entity_type.map(str::to_owned)),
            ("AccountId", report.account_id.clone()),
            ("ContainmentId", report.containment_id.clone()),
            (
                "Severity",
                report
                    .event
                    .as_ref()
                    .and_then(|event| event.severity)
                    .map(|one| one.to_string()),
            ),
        ];
        for (name, value) in attributes {
            let value = value.map(|value| {
                MessageAttributeValue::builder()
                    .data_type("String")
                    .string_value(value)
                    .build()
            });
            if let Some(Ok(value)) = value {
                call = call.message_attributes(name, value);
            }
        }
        if !report.owners.is_empty() {
            let owners = MessageAttributeValue::builder().data_type("String.Array");
            if let Ok(owners) = owners.string_value(json!(report.owners).to_string()).build() {
                call = call.message_attributes("Owner", owners);
            }
        }
        let mut pause = FIRST_PAUSE;
        let sent = loop {
            let failure = match call.clone().send().await {
                Ok(_) => break Ok(()),
                Err(error) => Failure::of("sns:Publish", topic, &self.hub, &error),
            };
            if failure.code != THROTTLED || pause > LAST_PAUSE {
                break Err(failure);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        };
        match sent {
            Ok(()) => true,
            Err(failure) => {
                self.lost.set(self.lost.get() + 1);
                tracing::error!(stage = %report.stage, entity = report.entity, lost_notices = self.lost.get(), "notice not sent: {failure}");
                false
            }
        }
    }
}
