//! Records: those that earlier versions wrote, damaged or forged, and all that is made of one without AWS.

use super::each;
use crate::admit::{admit, newest_containment, unfinished};
use crate::journal::Stored;
use crate::moment::Moment;
use crate::notice::{Report, Stage, mail};
use crate::record::Record;
use crate::record::tests::kept;
use crate::recording::is_fresh;

const PARTS: &[&str] = &[
    "null",
    "{}",
    "[]",
    "\"x\"",
    "0",
    "-1",
    "true",
    "\"state\": \"planned\",",
    "\"status\": \"releasing\",",
    "\"status\": \"containing\",",
    "\"before\": null,",
    "\"messages\": [],",
    "\"ended\": \"Contained\",",
    "applied",
    "failed",
    "released",
    "arn:aws:iam::222222222222:user/$(id)",
    "\\u0000",
    "ü",
    "999999999999999999999",
    "2026-11-22T17:55:38.120Z",
    ",",
    "\"",
    "{",
    "}",
];

#[test]
fn no_record_makes_anything_panic_and_what_is_one_is_written_as_it_was() {
    let kept: Vec<String> = kept().into_iter().map(|(_, text)| text).collect();
    let wholes: Vec<&str> = kept.iter().map(String::as_str).collect();
    each(
        20,
        |dice| dice.changed(PARTS, &wholes),
        |text| {
            let Ok(record) = serde_json::from_str::<Record>(text) else {
                return false;
            };
            let written = serde_json::to_string(&record).expect("JSON");
            assert_eq!(serde_json::from_str::<Record>(&written).expect("a record"), record);
            for step in &record.steps {
                let shown = [
                    step.step.describe(),
                    step.step.describe_undo(&step.before),
                    step.step.key(),
                ];
                let _ = (
                    shown,
                    step.step.holds(&step.before),
                    step.step.target(),
                    is_fresh(&record, &step.step),
                );
            }
            let Some(request) = newest_containment(&record) else {
                return true;
            };
            let ids: Vec<String> = record.messages.iter().map(|seen| seen.id.clone()).collect();
            let _ = ids.iter().map(|id| unfinished(&record, id)).collect::<Vec<_>>();
            for stage in [Stage::Contained, Stage::Partial] {
                let report = Report::contained(stage, &request, &record, "done".to_owned(), vec![]);
                let _ = (mail::subject(&report), mail::body(&report));
            }
            let report = Report::released(Stage::Released, &request, &record, "done".to_owned(), vec![]);
            let _ = (mail::subject(&report), mail::body(&report), record.amounts_to());
            let stored = Stored {
                record,
                version: 1,
                lease: None,
                asked: None,
            };
            let _ = admit(Some(&stored), &request, "holder", Moment::from_millis(0));
            true
        },
    );
}
