//! Findings that nobody acts on any more, whatever the rules say.

use super::json::Json;
use super::{Event, EventType};

impl Event<'_> {
    /// Why nothing is ever done about this event: it is a sample, or somebody has closed it. `None` for any other, records included.
    pub fn never_acted_on(&self) -> Option<&'static str> {
        let is = |names: &[&str], word: &str| self.root.text_at(names) == Some(word);
        let holds = |names: &[&str]| match self.root.at(names) {
            Some(Json::Bool(value)) => *value,
            Some(Json::Text(text)) => text == "true",
            _ => false,
        };
        let sample_title = |names: &[&str]| {
            self.root
                .text_at(names)
                .is_some_and(|title| title.starts_with("[SAMPLE]"))
        };
        const SAMPLE: Option<&str> = Some("a sample finding");
        match self.kind {
            EventType::CloudTrail => None,
            EventType::GuardDuty => {
                // GuardDuty writes it as a field, and once more into a text of JSON.
                let written = self.root.text_at(&["service", "additionalInfo", "value"]);
                let in_text = written.is_some_and(|text| text.replace(' ', "").contains("\"sample\":true"));
                if holds(&["service", "additionalInfo", "sample"]) || in_text || sample_title(&["title"]) {
                    SAMPLE
                } else if holds(&["service", "archived"]) {
                    Some("an archived finding")
                } else {
                    None
                }
            }
            EventType::SecurityHub => {
                let sample = holds(&["Sample"])
                    || holds(&["ProductFields", "aws/guardduty/service/additionalInfo/sample"])
                    || sample_title(&["Title"]);
                if sample {
                    SAMPLE
                } else if is(&["RecordState"], "ARCHIVED") || holds(&["ProductFields", "archived"]) {
                    Some("an archived finding")
                } else if is(&["Workflow", "Status"], "RESOLVED") || is(&["WorkflowState"], "RESOLVED") {
                    Some("a resolved finding")
                } else if is(&["Workflow", "Status"], "SUPPRESSED") {
                    Some("a suppressed finding")
                } else {
                    None
                }
            }
            EventType::Ocsf => {
                if sample_title(&["finding_info", "title"]) {
                    SAMPLE
                } else {
                    match self.root.text_at(&["status"]) {
                        Some("Archived") => Some("an archived finding"),
                        Some("Resolved") => Some("a resolved finding"),
                        Some("Suppressed") => Some("a suppressed finding"),
                        _ => None,
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::recognise::recognise;
    use super::*;

    fn judged(text: &str) -> Option<&'static str> {
        let json = Json::read(text.as_bytes()).expect("JSON");
        let events = recognise(&json);
        events
            .first()
            .and_then(|event| event.as_ref().ok())
            .expect("an event")
            .never_acted_on()
    }

    fn guardduty(service: &str, title: &str) -> String {
        format!(
            r#"{{"type": "t", "schemaVersion": "2.0", "resource": {{}}, "service": {service}, "title": "{title}"}}"#
        )
    }

    fn asff(rest: &str) -> String {
        format!(r#"{{"ProductArn": "p", "AwsAccountId": "222222222222", {rest}}}"#)
    }

    fn ocsf(rest: &str) -> String {
        format!(
            r#"{{"source": "aws.securityhub", "detail-type": "Findings Imported V2", "detail": {{"findings": [{{{rest}}}]}}}}"#
        )
    }

    #[test]
    fn samples_and_closed_findings_are_known_in_every_format() {
        for (text, said) in [
            (guardduty(r#"{"additionalInfo": {"sample": true}}"#, ""), Some("sample")),
            (
                guardduty(r#"{"additionalInfo": {"value": "{\"x\": 1, \"sample\": true}"}}"#, ""),
                Some("sample"),
            ),
            (guardduty("{}", "[SAMPLE] x"), Some("sample")),
            (guardduty(r#"{"archived": true}"#, ""), Some("archived")),
            (guardduty(r#"{"archived": false, "additionalInfo": "x"}"#, "x"), None),
            (asff(r#""Sample": true"#), Some("sample")),
            (asff(r#""Title": "[SAMPLE] x""#), Some("sample")),
            (
                asff(r#""ProductFields": {"aws/guardduty/service/additionalInfo/sample": "true"}"#),
                Some("sample"),
            ),
            (asff(r#""RecordState": "ARCHIVED""#), Some("archived")),
            (asff(r#""Workflow": {"Status": "RESOLVED"}"#), Some("resolved")),
            (asff(r#""Workflow": {"Status": "SUPPRESSED"}"#), Some("suppressed")),
            (
                asff(r#""Workflow": {"Status": "NOTIFIED"}, "RecordState": "ACTIVE""#),
                None,
            ),
            (ocsf(r#""status": "Suppressed""#), Some("suppressed")),
            (ocsf(r#""status": "Resolved""#), Some("resolved")),
            (ocsf(r#""status": "Archived""#), Some("archived")),
            (ocsf(r#""finding_info": {"title": "[SAMPLE] x"}"#), Some("sample")),
            (ocsf(r#""status": "New""#), None),
        ] {
            let judged = judged(&text);
            assert_eq!(judged.is_some(), said.is_some(), "{text}: {judged:?}");
            assert!(
                judged.unwrap_or_default().contains(said.unwrap_or_default()),
                "{text}: {judged:?}"
            );
        }
    }
}
