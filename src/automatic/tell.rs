//! What notices say of events.

use super::case::Case;
use super::lead;
use crate::event::{Event, EventType};
use crate::notice::report::{About, Line, quoted};
use crate::notice::{Report, Stage};
use crate::rules::problem::Problems;
use crate::rules::{Response, Rule};

/// The longest text of an event that a notice repeats, in characters.
const LONGEST_TEXT: usize = 256;

/// The notice about an event: which rules, which entities, what is done about each, and where to go on.
pub(super) fn notice<'r>(
    event: &Event<'_>,
    rules: impl Iterator<Item = &'r Rule> + Clone,
    cases: &[Case],
    topic: &str,
) -> Report {
    let mut report = about(event, Stage::Notified, summary(event));
    report.raised = cases.iter().any(|case| case.raised);
    report.entities = cases.iter().map(Case::line).collect();
    if let Some(event) = &mut report.event {
        event.severity = rules.clone().map(|rule| rule.severity).min();
        event.rules = rules.map(rule_line).collect();
    }
    if cases.is_empty() {
        let none = "The event names no entity that could be locked down";
        report.remarks.push(none.to_owned());
    }
    let idle = cases.iter().filter(|case| case.response <= Response::Notify);
    let commands = idle.filter_map(|case| case.entity.as_ref()).map(|entity| {
        format!(
            "To contain it (asks for the ExternalId): lockdown publish --topic-arn {} --entity-arn {}",
            quoted(topic),
            quoted(&entity.named.to_string())
        )
    });
    report.next = lead::lead(event).into_iter().chain(commands).collect();
    report
}

/// Nothing is done about what a person has sent on, and that person waits for an answer.
pub(super) fn refused(event: &Event<'_>, why: &str) -> Report {
    Report {
        next: lead::lead(event),
        ..about(event, Stage::Refused, why.to_owned())
    }
}

/// There are no rules to judge events by.
pub(super) fn no_rules(event: &Event<'_>, problems: &Problems) -> Report {
    let summary = format!(
        "The rules can't be loaded, so NOTHING is contained automatically, and nothing is told of events: {problems}"
    );
    let next = vec![
        "Mend the rules (`lockdown rules check` says what is wrong), and deploy the package again".to_owned(),
        "Look through the dead-letter queue then: it keeps the events that came meanwhile".to_owned(),
        "Messages of people are carried out as ever".to_owned(),
    ];
    Report {
        next,
        ..about(event, Stage::Failed, summary)
    }
}

fn rule_line(rule: &Rule) -> Line {
    let title = rule.clause.title.as_deref().unwrap_or_default();
    Line {
        what: format!(
            "{} (severity {}, {}): {title}",
            rule.clause.name, rule.severity, rule.response
        ),
        at: None,
        why: rule.clause.reason.clone(),
    }
}

/// A notice about an event, before anything is known of its entities.
fn about(event: &Event<'_>, stage: Stage, summary: String) -> Report {
    Report {
        label: clean(event.what()),
        account_id: event.account().map(|account| account.to_string()),
        event: Some(About {
            kind: event.kind.name(),
            id: event.id().map(clean),
            what: clean(event.what()),
            at: event.time(),
            region: event.region().map(|region| region.to_string()),
            severity: None,
            rules: vec![],
        }),
        ..Report::bare(stage, summary)
    }
}

/// What happened, in a sentence.
pub(super) fn summary(event: &Event<'_>) -> String {
    let said = clean(event.title().unwrap_or_else(|| event.what()));
    let severity = event.severity().map(|severity| format!(" of severity {severity}"));
    let severity = severity.unwrap_or_default();
    match event.kind {
        EventType::CloudTrail => {
            let text = |names: &[&str]| clean(event.root.text_at(names).unwrap_or("?"));
            let failed = event.root.text_at(&["errorCode"]);
            let failed = failed.map(|code| format!(", which failed ({})", clean(code)));
            format!(
                "CloudTrail: {said} of {} by {} from {}{}",
                text(&["eventSource"]),
                text(&["userIdentity", "arn"]),
                text(&["sourceIPAddress"]),
                failed.unwrap_or_default()
            )
        }
        EventType::GuardDuty => format!("A finding of GuardDuty{severity}: {said} ({})", clean(event.what())),
        EventType::SecurityHub | EventType::Ocsf => {
            format!("A finding of Security Hub{severity}: {said} ({})", clean(event.what()))
        }
    }
}

/// A text of an event, as a notice may repeat it.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect()
}
