//! Finds records in what an operator has at hand: the record itself, the function's log line that holds it, and the forms in
//! which CloudWatch hands such lines out.

use entity_lockdown::journal::import::combined;
use entity_lockdown::record::Record;
use serde::Deserialize;
use serde_json::Value;

use crate::trouble::Trouble;

/// How deep texts within texts are looked into: an export's JSON, its message, the record.
const DEEPEST: u8 = 4;

/// The records in a text, one for each entity.
///
/// # Errors
/// There is none, or one that can't be read.
pub fn records(text: &str) -> Result<Vec<Record>, Trouble> {
    let mut found = Found::default();
    found.in_text(text, 0);
    if let Some(problem) = found.problems.first() {
        return Err(Trouble::usage(format!(
            "a record was found, and can't be read ({problem}): is the line whole? It may be cut where it was copied"
        )));
    }
    if found.records.is_empty() {
        return Err(Trouble::usage(
            "no record was found: expected is a record (as `lockdown show --json` prints it), or the function's log line with \
             \"unjournalled\":true, as it stands in the log or in an export of it",
        ));
    }
    Ok(combined(found.records))
}

#[derive(Default)]
struct Found {
    records: Vec<Record>,
    problems: Vec<String>,
}

impl Found {
    fn in_text(&mut self, text: &str, depth: u8) {
        if depth > DEEPEST {
            return;
        }
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            return self.in_value(&value, depth);
        }
        for line in text.lines() {
            match json_in(line) {
                Some(value) => self.in_value(&value, depth),
                None if is_cut(line) => self.problems.push("it is no whole JSON".to_owned()),
                None => {}
            }
        }
    }

    fn in_value(&mut self, value: &Value, depth: u8) {
        match value {
            Value::Object(object) => {
                let is_record = ["format", "key", "containment", "steps"]
                    .iter()
                    .all(|name| object.contains_key(*name));
                if is_record {
                    return self.take(Record::deserialize(value));
                }
                if let (Some(Value::String(record)), Some(Value::Bool(true))) =
                    (object.get("record"), object.get("unjournalled"))
                {
                    return self.take(serde_json::from_str(record));
                }
                object.values().for_each(|value| self.in_value(value, depth));
            }
            Value::Array(values) => values.iter().for_each(|value| self.in_value(value, depth)),
            Value::String(text) if text.contains("unjournalled") => self.in_text(text, depth + 1),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn take(&mut self, record: Result<Record, serde_json::Error>) {
        match record {
            Ok(record) => self.records.push(record),
            Err(error) => self.problems.push(error.to_string()),
        }
    }
}

/// Whether a line that is no JSON was one that held a record.
fn is_cut(line: &str) -> bool {
    line.contains('{')
        && ["unjournalled", "\\\"containment\\\""]
            .iter()
            .any(|word| line.contains(word))
}

/// The JSON object in a line, whatever stands before and behind it (times, stream names); quotes doubled as CSV has them.
fn json_in(line: &str) -> Option<Value> {
    let from = line.find('{').and_then(|at| line.get(at..))?;
    let first = |text: &str| {
        serde_json::Deserializer::from_str(text)
            .into_iter::<Value>()
            .next()
            .and_then(Result::ok)
    };
    first(from).or_else(|| first(&from.replace("\"\"", "\"")))
}

#[cfg(test)]
mod tests {
    use entity_lockdown::record::{Status, StepState};
    use serde_json::json;

    use super::*;
    use crate::standing::tests::stored;

    fn record() -> Record {
        stored("alice", Status::Contained, StepState::Applied, None).record
    }

    fn line() -> String {
        let record = serde_json::to_string(&record()).expect("JSON");
        json!({"timestamp": "2026-11-22T17:00:05Z", "level": "ERROR", "message": "keep this line", "unjournalled": true,
               "record": record, "span": {"name": "request"}})
        .to_string()
    }

    #[test]
    fn a_record_is_found_in_every_form_that_it_is_handed_out_in() {
        let pretty = serde_json::to_string_pretty(&record()).expect("JSON");
        let events = json!({"events": [{"message": "START"}, {"message": format!("{}\n", line())}]}).to_string();
        let insights = json!([{"@timestamp": "x", "@message": line()}]).to_string();
        let csv = format!("timestamp,message\n17,\"{}\"\n", line().replace('"', "\"\""));
        let tail = format!(
            "START RequestId: 1\n2026-11-22T17:00:05 2026/11/22/[$LATEST]abc {}\nEND\n",
            line()
        );
        for text in [
            pretty,
            line(),
            events,
            insights,
            csv,
            tail,
            format!("{}\n{}", line(), line()),
        ] {
            assert_eq!(records(&text), Ok(vec![record()]), "{text}");
        }
    }

    #[test]
    fn what_holds_no_record_or_half_of_one_is_refused() {
        let cut: String = line().chars().take(300).collect();
        let old = line().replace("\\\"status\\\":\\\"contained\\\"", "\\\"status\\\":\\\"unknown\\\"");
        for (text, part) in [
            ("", "no record"),
            ("{}", "no record"),
            ("[1, \"a\"]", "no record"),
            (&cut, "cut"),
            (&old, "can't be read"),
        ] {
            let said = records(text).expect_err("a refusal").text;
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}
