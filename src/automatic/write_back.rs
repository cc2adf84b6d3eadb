//! Writes into a finding of Security Hub what was done about it, so that its console shows it. GuardDuty's findings stay as they are.
//!
//! Sources: AWS Security Hub API Reference, "BatchUpdateFindings" (a note replaces the one before, and has at most 512 characters) and
//! "BatchUpdateFindingsV2"; AWS Security Hub User Guide, "Setting the workflow status of findings".

use aws_sdk_securityhub::types::{AwsSecurityFindingIdentifier, NoteUpdate, WorkflowStatus, WorkflowUpdate};

use crate::aws::{Accounts, Failure, Member};
use crate::event::{Event, EventType};
use crate::handler::Outcome;
use crate::moment::Moment;
use crate::request::Request;
use crate::steps::Permission;

/// What writing takes in the account of the finding.
///
/// IAM judges both calls as this action (Service Authorization Reference, "AWS Security Hub").
pub(super) const PERMISSIONS: &[Permission] = &[Permission {
    action: "securityhub:BatchUpdateFindings",
    used_for: "note in a finding what was done about it",
}];

/// The longest note that Security Hub takes, in characters.
const LONGEST_NOTE: usize = 512;

/// OCSF's number for a finding that somebody is at work on (`status_id`).
const IN_PROGRESS: i32 = 2;

/// Notes what became of these requests. A failure is logged: the notices have told it all.
pub(super) async fn write(event: &Event<'_>, ended: &[(Request, Outcome)], accounts: &Accounts) {
    if ended.is_empty() || !matches!(event.kind, EventType::SecurityHub | EventType::Ocsf) {
        return;
    }
    if let Err(failure) = update(event, ended, accounts).await {
        tracing::warn!("nothing was noted in the finding: {failure}");
    }
}

async fn update(event: &Event<'_>, ended: &[(Request, Outcome)], accounts: &Accounts) -> Result<(), Failure> {
    let (Some(account), Some(region)) = (event.account(), event.region()) else {
        return Ok(());
    };
    let member = accounts.member(event.partition(), &account, &region).await?;
    let text = note(event, ended, Moment::now());
    match event.kind {
        EventType::Ocsf => update_ocsf(event, &member, text).await,
        _ => update_asff(event, &member, text).await,
    }
}

async fn update_asff(event: &Event<'_>, member: &Member, text: String) -> Result<(), Failure> {
    let call = "securityhub:BatchUpdateFindings";
    let id = event.id().unwrap_or_default();
    let product = event.product().unwrap_or_default();
    let which = AwsSecurityFindingIdentifier::builder()
        .id(id)
        .product_arn(product)
        .build();
    let note = NoteUpdate::builder().text(text).updated_by("entity-lockdown").build();
    let update = member.security_hub.batch_update_findings();
    let mut update = update.finding_identifiers(which).note(note);
    // A state that somebody has set is theirs.
    if matches!(event.root.text_at(&["Workflow", "Status"]), None | Some("NEW")) {
        let notified = WorkflowUpdate::builder().status(WorkflowStatus::Notified).build();
        update = update.workflow(notified);
    }
    let answer = update.send().await.map_err(|error| member.failure(call, id, &error))?;
    match answer.unprocessed_findings().first() {
        None => Ok(()),
        Some(left) => Err(refused(call, id, member, left.error_code(), left.error_message())),
    }
}

async fn update_ocsf(event: &Event<'_>, member: &Member, text: String) -> Result<(), Failure> {
    let call = "securityhub:BatchUpdateFindingsV2";
    let Some(id) = event.root.text_at(&["metadata", "uid"]) else {
        return Ok(());
    };
    let mut update = member
        .security_hub
        .batch_update_findings_v2()
        .metadata_uids(id)
        .comment(text);
    if matches!(event.root.text_at(&["status"]), None | Some("New")) {
        update = update.status_id(IN_PROGRESS);
    }
    let answer = update.send().await.map_err(|error| member.failure(call, id, &error))?;
    match answer.unprocessed_findings().first() {
        None => Ok(()),
        Some(left) => {
            let code = left.error_code().map(|code| code.as_str());
            Err(refused(call, id, member, code, left.error_message()))
        }
    }
}

fn refused(call: &'static str, id: &str, member: &Member, code: Option<&str>, message: Option<&str>) -> Failure {
    let (code, message) = (code.unwrap_or("Unprocessed"), message.unwrap_or_default());
    Failure::own(call, id, member.account.as_str(), code, message)
}

/// What was done, and below it the note that somebody has written before, as far as it fits.
fn note(event: &Event<'_>, ended: &[(Request, Outcome)], now: Moment) -> String {
    let what = ended.iter().map(|(request, outcome)| {
        let stage = match outcome {
            Outcome::Ended(stage) => stage.to_string(),
            Outcome::Silent => "in work".to_owned(),
            Outcome::Retry(_) | Outcome::SaidAndRetry(_) => "being tried again".to_owned(),
        };
        format!("{}: {stage}", request.entity.named)
    });
    let what = what.collect::<Vec<_>>().join("; ");
    let own = format!("entity-lockdown, {}: {what}", now.for_people());
    let text = match event.root.text_at(&["Note", "Text"]) {
        Some(before) => format!("{own}\n{before}"),
        None => own,
    };
    text.chars().take(LONGEST_NOTE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::tests::request;
    use crate::event::json::Json;
    use crate::event::recognise::recognise;
    use crate::notice::Stage;
    use crate::request::Action;

    #[test]
    fn a_note_says_what_became_of_each_and_keeps_what_people_wrote() {
        let text = format!(
            r#"{{"ProductArn": "p", "AwsAccountId": "222222222222", "Note": {{"Text": "ask Ada {}"}}}}"#,
            "x".repeat(600)
        );
        let json = Json::read(text.as_bytes()).expect("JSON");
        let events = recognise(&json);
        let event = events.first().and_then(|event| event.as_ref().ok()).expect("an event");
        let ended = [(request(Action::Contain, "m1", 0), Outcome::Ended(Stage::Partial))];
        let said = note(event, &ended, "2026-11-22T00:00:00Z".parse().expect("a time"));
        let first =
            "entity-lockdown, 2026-11-22 00:00:00 UTC: arn:aws:iam::222222222222:user/alice: Partial\nask Ada x";
        assert!(said.starts_with(first), "{said}");
        assert_eq!(said.chars().count(), LONGEST_NOTE);
    }
}
