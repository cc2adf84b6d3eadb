//! The content of a notice, as data: what programs receive as JSON, and what a mail is written from.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::moment::Moment;
use crate::notice::Stage;
use crate::plan::Plan;
use crate::record::{Record, StepState};
use crate::request::{Action, Claims, Request};
use crate::settings::Settings;

/// One line about a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it is about.
    pub what: String,
    /// When it came to be so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
    /// Why, where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Line {
    /// A line without a time.
    pub fn plain(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            at: None,
            why: None,
        }
    }
}

/// The event that a notice is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// `cloudtrail`, `guardduty`, `securityhub` or `ocsf`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its id at its service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The type of the finding, or the name of the call.
    pub what: String,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
    /// Its region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The severity that the rules give it, from 1, the highest, to 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<u8>,
    /// The rules that match, with what they say.
    pub rules: Vec<Line>,
}

/// What a notice says. The field names are stable: programs read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The stage.
    pub stage: Stage,
    /// What was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The entity's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// The kind of entity, such as `iam-user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_type: Option<&'static str>,
    /// For people, such as `IAM user alice`.
    #[serde(skip)]
    pub label: String,
    /// The entity's account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The containment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containment_id: Option<String>,
    /// The message that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Why and by whom, as the message claims.
    pub claimed: Claims,
    /// When this was written.
    pub at: Moment,
    /// The main thing, in a sentence or two.
    pub summary: String,
    /// The event that it is about, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<About>,
    /// The entities of that event, and what is done about each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Line>,
    /// What the contained identity had changed in AWS by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<String>,
    /// Whose it is: the owners of the rules that match, and of the entities as their tags say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// Whether somebody must act, though its stage alone doesn't say so.
    #[serde(skip)]
    pub raised: bool,
    /// What holds, or was put back.
    pub done: Vec<Line>,
    /// What was not done, and why.
    pub not_done: Vec<Line>,
    /// What is to be done (plan), or is being done (started).
    pub steps: Vec<Line>,
    /// What is known to stay open.
    pub residue: Vec<String>,
    /// Who else is affected.
    pub affected: Vec<String>,
    /// What people should know beside it.
    pub remarks: Vec<String>,
    /// What to do next.
    pub next: Vec<String>,
    /// The command that releases, without the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_command: Option<String>,
    /// Whether the journal has the record.
    pub journalled: bool,
    /// The commands that bring an unjournalled record into the journal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub import_commands: Vec<String>,
    /// How many lines of which list were left out, since the notice would have been too long: the record has them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<&'static str, usize>,
}

impl Report {
    /// A report about one request, with its summary.
    pub fn about(stage: Stage, request: &Request, summary: impl Into<String>) -> Self {
        Self {
            stage,
            action: Some(request.action),
            entity: Some(request.entity.named.to_string()),
            entity_type: Some(request.entity.kind.name()),
            label: request.entity.to_string(),
            account_id: Some(request.entity.account.to_string()),
            containment_id: None,
            message_id: Some(request.message.id.clone()),
            claimed: request.claims.clone(),
            ..Self::bare(stage, summary)
        }
    }

    /// A report that names no entity, since none was named well.
    pub fn bare(stage: Stage, summary: impl Into<String>) -> Self {
        Self {
            stage,
            action: None,
            entity: None,
            entity_type: None,
            label: String::new(),
            account_id: None,
            containment_id: None,
            message_id: None,
            claimed: Claims::default(),
            at: Moment::now(),
            summary: summary.into(),
            event: None,
            entities: vec![],
            traces: vec![],
            owners: vec![],
            raised: false,
            done: vec![],
            not_done: vec![],
            steps: vec![],
            residue: vec![],
            affected: vec![],
            remarks: vec![],
            next: vec![],
            release_command: None,
            journalled: true,
            import_commands: vec![],
            left_out: BTreeMap::new(),
        }
    }

    /// Says that the record is in the function's log alone, and how it comes into the journal.
    #[must_use]
    pub fn unjournalled(self, settings: &Settings) -> Self {
        let (group, table) = (quoted(&settings.log_group), quoted(&settings.journal_table));
        let import_commands = vec![
            format!("aws logs filter-log-events --log-group-name {group} --filter-pattern unjournalled > lines.json"),
            format!("lockdown journal import lines.json --table {table}"),
        ];
        Self {
            journalled: false,
            import_commands,
            ..self
        }
    }

    /// A refusal of one request.
    pub fn refused(request: &Request, reason: impl Into<String>) -> Self {
        Self {
            next: vec!["Nothing was changed. Publish a corrected message if something should be".to_owned()],
            ..Self::about(Stage::Refused, request, reason)
        }
    }

    /// Whether somebody must act: such notices go to the failure topic as well.
    pub fn is_trouble(&self) -> bool {
        self.raised || self.stage.is_trouble()
    }

    /// The steps of a plan that nobody has carried out.
    pub fn planned(request: &Request, plan: &Plan) -> Self {
        let entity = &request.entity;
        Self {
            entity: Some(plan.entity.to_string()),
            steps: plan
                .steps
                .iter()
                .map(|planned| Line::plain(planned.step.describe()))
                .collect(),
            residue: plan.residue.clone(),
            affected: plan.affected.clone(),
            remarks: plan.remarks.clone(),
            next: vec![
                "Nothing was changed. Publish the same message with Action `contain` to carry this out".to_owned(),
            ],
            ..Self::about(
                Stage::Planned,
                request,
                format!("This is what containing the {entity} would do, in this order"),
            )
        }
    }

    /// Work on a recorded plan begins.
    pub fn started(request: &Request, record: &Record) -> Self {
        let steps = record
            .steps
            .iter()
            .filter(|step| matches!(step.state, StepState::Planned | StepState::Failed));
        Self {
            steps: steps.map(|step| Line::plain(step.step.describe())).collect(),
            next: vec!["Wait for the notice that says how it ended".to_owned()],
            release_command: None,
            ..Self::of(
                Stage::Started,
                request,
                record,
                format!(
                    "Containment of the {} has started; nothing is certain yet",
                    request.entity
                ),
            )
        }
    }

    /// How a containment stands, by its record.
    pub fn contained(stage: Stage, request: &Request, record: &Record, summary: String, next: Vec<String>) -> Self {
        let mut report = Self {
            next,
            ..Self::of(stage, request, record, summary)
        };
        for step in &record.steps {
            let line = Line {
                what: step.step.describe(),
                at: Some(step.at),
                why: step.detail.clone(),
            };
            match step.state {
                StepState::Applied => report.done.push(line),
                StepState::Unchanged => report.done.push(Line {
                    why: Some("it was so before; a release leaves it".to_owned()),
                    ..line
                }),
                StepState::Planned | StepState::Failed => report.not_done.push(line),
                StepState::Replaced => {
                    let code = step.code.as_deref().unwrap_or("refused");
                    report.remarks.push(format!(
                        "Not possible, and another step does its work ({code}): {}",
                        line.what
                    ));
                }
                StepState::Skipped if step.step.exposes() => report.not_done.push(line),
                StepState::Skipped => {
                    let why = step.detail.clone().unwrap_or_default();
                    report.remarks.push(format!(
                        "Done without, since it was not possible here: {} ({why})",
                        line.what
                    ));
                }
                StepState::Undone | StepState::Untouched | StepState::Kept | StepState::Left | StepState::Gone => {}
            }
        }
        report
    }

    /// How a release stands, by its record.
    pub fn released(stage: Stage, request: &Request, record: &Record, summary: String, next: Vec<String>) -> Self {
        let of = Self::of(stage, request, record, summary);
        let mut report = Self {
            next,
            residue: vec![],
            affected: vec![],
            remarks: vec![],
            ..of
        };
        for step in record.steps.iter().rev().filter(|step| step.step.reverses()) {
            let line = Line {
                what: step.step.describe_undo(&step.before),
                at: Some(step.at),
                why: step.detail.clone(),
            };
            match step.state {
                StepState::Undone => report.done.push(line),
                StepState::Gone => report.done.push(Line {
                    why: Some("the resource no longer exists".to_owned()),
                    ..line
                }),
                StepState::Kept | StepState::Left | StepState::Failed | StepState::Planned | StepState::Applied => {
                    report.not_done.push(line)
                }
                StepState::Unchanged | StepState::Untouched => {
                    let what = step.step.describe();
                    report.remarks.push(format!(
                        "Nothing was to undo, since it is as it was before containment: {what}"
                    ));
                }
                StepState::Replaced | StepState::Skipped => {}
            }
        }
        let evidence = record.steps.iter().filter(|step| !step.step.reverses());
        report.remarks.extend(evidence.filter_map(|step| {
            let kept = step.step.describe_made(step.made.as_ref()?)?;
            Some(format!("Kept, and never undone: {} ({kept})", step.step.describe()))
        }));
        if stage == Stage::Released {
            report.release_command = None;
        }
        report
    }

    fn of(stage: Stage, request: &Request, record: &Record, summary: String) -> Self {
        Self {
            entity: Some(record.entity.to_string()),
            containment_id: Some(record.containment.to_string()),
            residue: record.residue.clone(),
            affected: record.affected.clone(),
            remarks: record.remarks.clone(),
            owners: request.claims.owners.clone(),
            release_command: Some(release_command(record)),
            ..Self::about(stage, request, summary)
        }
    }
}

/// The command that releases what a record holds, ready to paste; it asks for the ExternalId itself.
pub fn release_command(record: &Record) -> String {
    format!(
        "lockdown publish --topic-arn {} --action release --entity-arn {}",
        quoted(&record.topic),
        quoted(&record.entity.to_string())
    )
}

/// A text as one word for a shell (POSIX, "Shell Command Language": quoting). An IAM path may hold any printable character, `$(...)`
/// too, and whoever chose it is the one that is locked down.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::tests::request;
    use crate::moment::Moment;
    use crate::settings::tests::settings;

    #[test]
    fn a_path_can_bring_nothing_into_the_release_command() {
        let asked = request(Action::Contain, "m1", 0);
        let mut record = Record::begin(&asked, Moment::now());
        record.entity = "arn:aws:iam::222222222222:user/$(id)/`id`/'|id|'/alice"
            .parse()
            .expect("an ARN");
        let path = r"/$(id)/`id`/'\''|id|'\''/alice";
        let expected = format!(
            "lockdown publish --topic-arn 'arn:aws:sns:us-east-1:111111111111:requests' --action release \
             --entity-arn 'arn:aws:iam::222222222222:user{path}'"
        );
        assert_eq!(release_command(&record), expected);
    }

    #[test]
    fn an_unjournalled_record_says_where_it_is_and_where_it_belongs() {
        let asked = request(Action::Contain, "m1", 0);
        let report = Report::about(Stage::Contained, &asked, "done").unjournalled(&settings());
        assert!(!report.journalled);
        let commands = report.import_commands.concat();
        assert!(
            commands.contains("'/aws/lambda/entity-lockdown'") && commands.contains("--table 'journal'"),
            "{commands}"
        );
    }
}
