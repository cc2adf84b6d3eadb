//! `lockdown rules test`: what rules would have said of events that there are.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use comfy_table::Cell;
use entity_lockdown::event::json::Json;
use entity_lockdown::event::recognise::{NotAnEvent, recognise};
use entity_lockdown::event::split::{Place, Splitter};
use entity_lockdown::moment::Moment;
use entity_lockdown::rules::RuleSet;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::input::{Counted, Inputs, open};
use super::tally::{Row, Tally};
use super::{counted, sound};
use crate::screen::{Screen, clean, table};
use crate::trouble::{Exit, Trouble};

/// How many skipped values of one file are named; the rest is counted.
const NAMED_AT_MOST: u64 = 10;

/// How many entities a row of the table names.
const ENTITIES_SHOWN: usize = 3;

/// Try rules on events: how often each would have matched, when, and about whom
///
/// Reads CloudTrail's files ({"Records": [...]}), envelopes of EventBridge, arrays of either, bare records and findings, one to a line
/// or not, each also gzipped. In a folder all files are read that end with .json, .jsonl or .ndjson, or these with .gz. What can't be
/// read is named, counted and skipped; the exit code is then 5. Needs no AWS, and a constant amount of memory.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  lockdown rules test --rules rules --events cloudtrail/2026/11\n  zcat *.gz | lockdown rules test --events - --json | jq '.rules[] | {name, count}'"
)]
pub struct Args {
    /// The folder with the rule files (*.toml)
    #[arg(long, default_value = "rules", value_name = "DIR")]
    rules: PathBuf,
    /// Files and folders with events (`-`: standard input)
    #[arg(long, required = true, num_args = 1.., value_name = "FILE|DIR")]
    events: Vec<PathBuf>,
    /// An object with `events`, `skipped` and `rules`; rules that matched nothing are left out
    #[arg(long)]
    json: bool,
}

/// All of it, as programs read it.
#[derive(Debug, Serialize)]
struct Outcome<'r> {
    events: u64,
    skipped: u64,
    rules: Vec<Row<'r>>,
}

/// Carries the verb out.
pub fn run(args: &Args, screen: &mut Screen) -> Result<Exit, Trouble> {
    let set = sound(&args.rules, screen)?;
    let inputs = Inputs::of(&args.events)?;
    let began = Instant::now();
    let mut trial = Trial::new(&set, bar(screen, inputs.size()), screen);
    for (folder, error) in &inputs.unread {
        trial.skip(folder, None, &format!("it can't be read: {error}"), true);
    }
    for file in &inputs.files {
        trial.file(file);
    }
    trial.bar.finish_and_clear();
    trial.left_out(&inputs.left_out);
    trial.rate(inputs.files.len(), began.elapsed().as_secs_f64());
    trial.show(args.json)
}

/// A bar of bytes, on a terminal.
fn bar(screen: &Screen, size: u64) -> ProgressBar {
    if !screen.lively {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

/// What has been read so far.
struct Trial<'r, 's> {
    tally: Tally<'r>,
    screen: &'s mut Screen,
    bar: ProgressBar,
    skipped: u64,
    /// Something was skipped that should have been an event.
    broken: bool,
    /// How many of the present file were skipped.
    of_file: u64,
    bytes: u64,
}

impl<'r, 's> Trial<'r, 's> {
    fn new(set: &'r RuleSet, bar: ProgressBar, screen: &'s mut Screen) -> Self {
        Self {
            tally: Tally::new(set, Moment::now()),
            screen,
            bar,
            skipped: 0,
            broken: false,
            of_file: 0,
            bytes: 0,
        }
    }

    fn file(&mut self, file: &Path) {
        self.of_file = 0;
        match open(file, &self.bar) {
            Ok(reader) => self.read(file, reader),
            Err(error) => self.skip(file, None, &format!("it can't be read: {error}"), true),
        }
        if self.of_file > NAMED_AT_MOST {
            let more = self.of_file - NAMED_AT_MOST;
            self.say(&format!("skipped: {}: {more} more", file.display()));
        }
    }

    fn read(&mut self, file: &Path, reader: impl Read) {
        let mut bytes = 0;
        let mut splitter = Splitter::new(Counted {
            reader,
            count: &mut bytes,
        });
        while let Some(piece) = splitter.next() {
            let piece = match piece {
                Ok(piece) => piece,
                Err((place, error)) => {
                    self.skip(file, Some(place), &error.to_string(), true);
                    continue;
                }
            };
            let place = piece.place;
            match Json::read(piece.bytes) {
                Ok(json) => {
                    for event in recognise(&json) {
                        match event {
                            Ok(event) => self.tally.judge(&event),
                            Err(NotAnEvent::Other(what)) => self.skip(file, Some(place), &what, false),
                            Err(NotAnEvent::Broken(why)) => self.skip(file, Some(place), &why, true),
                        }
                    }
                }
                Err(error) => {
                    // serde's own place counts from the beginning of the value.
                    let line = place.line + (error.line() as u64).saturating_sub(1);
                    let why = error.to_string();
                    let why = why.split(" at line ").next().unwrap_or_default();
                    self.skip(file, Some(Place { line, ..place }), &format!("no JSON: {why}"), true);
                    splitter.reject();
                }
            }
        }
        self.bytes += bytes;
    }

    /// Names what is skipped, or counts it where too much of a file is.
    fn skip(&mut self, file: &Path, place: Option<Place>, why: &str, broken: bool) {
        self.skipped += 1;
        self.of_file += 1;
        self.broken |= broken;
        if self.of_file <= NAMED_AT_MOST {
            let place = place.filter(|place| place.record > 0).map_or(String::new(), |place| {
                format!("record {}, line {}: ", place.record, place.line)
            });
            self.say(&format!("skipped: {}: {place}{why}", file.display()));
        }
    }

    fn say(&mut self, text: &str) {
        let Self { bar, screen, .. } = self;
        bar.suspend(|| screen.say(text));
    }

    /// Names the files of folders that were not read.
    fn left_out(&mut self, files: &[PathBuf]) {
        let names: Vec<String> = files.iter().take(5).map(|file| file.display().to_string()).collect();
        let more = files.len().saturating_sub(names.len());
        if !names.is_empty() {
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            self.say(&format!(
                "note: not read, since they don't end as files of events do: {}{more}",
                names.join(", ")
            ));
        }
    }

    fn rate(&mut self, files: usize, seconds: f64) {
        if self.tally.closed > 0 {
            self.say(&format!(
                "note: {} of the events that matched are samples, archived, resolved or suppressed: the function never acts on those",
                self.tally.closed
            ));
        }
        #[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
        let megabytes = self.bytes as f64 / 1e6;
        self.say(&format!(
            "{} in {}, {} skipped; {megabytes:.1} MB in {seconds:.2} s, {:.0} MB/s",
            counted(usize::try_from(self.tally.events).unwrap_or(usize::MAX), "event"),
            counted(files, "file"),
            self.skipped,
            megabytes / seconds.max(1e-9)
        ));
    }

    fn show(self, json: bool) -> Result<Exit, Trouble> {
        let outcome = Outcome {
            events: self.tally.events,
            skipped: self.skipped,
            rules: self.tally.rows(),
        };
        for row in outcome.rules.iter().filter(|row| row.more) {
            let kept = row.entities.len();
            self.screen.say(&format!(
                "note: `{}` is about more than {kept} entities: the first {kept} are kept",
                row.name
            ));
        }
        if json {
            self.screen.show_json(&outcome)?;
        } else {
            let text = written(&outcome, self.screen.width);
            self.screen.show(&text);
        }
        Ok(if self.broken { Exit::Partial } else { Exit::Done })
    }
}

fn written(outcome: &Outcome<'_>, width: Option<u16>) -> String {
    if outcome.rules.is_empty() {
        return "No rule matches any of these events.".to_owned();
    }
    let mut table = table(["RULE", "COUNT", "FIRST", "LAST", "ENTITIES", "ACTION"], width);
    for row in &outcome.rules {
        let time = |time: Option<Moment>| Cell::new(time.map_or("-".to_owned(), Moment::for_people));
        table.add_row([
            Cell::new(row.name),
            Cell::new(row.count),
            time(row.first),
            time(row.last),
            Cell::new(clean(&entities(row))),
            Cell::new(row.action),
        ]);
    }
    table.trim_fmt()
}

fn entities(row: &Row<'_>) -> String {
    let mut lines: Vec<String> = row
        .entities
        .iter()
        .take(ENTITIES_SHOWN)
        .map(ToString::to_string)
        .collect();
    match row.entities.len().saturating_sub(ENTITIES_SHOWN) {
        0 if lines.is_empty() => lines.push("-".to_owned()),
        0 => {}
        more => lines.push(format!("and {more} more")),
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Folder, RULES};
    use super::*;
    use crate::screen::tests::paper;

    const RECORD: &str = r#"{"eventVersion": "1.08", "eventTime": "2026-11-22T10:00:00Z", "eventSource": "ssm.amazonaws.com", "eventName": "SendCommand",
        "awsRegion": "eu-west-1", "recipientAccountId": "222222222222", "sourceIPAddress": "198.51.100.7",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::222222222222:user/alice"}, "requestParameters": {"instanceIds": ["i-0123456789abcdef0"]}}"#;

    fn tried(name: &str, events: &[(&str, Vec<u8>)], json: bool) -> (Result<Exit, Trouble>, String, String) {
        let rules = Folder::with(&format!("{name}-rules"), &[("x.toml", RULES)]);
        let folder = Folder::with(name, events);
        let (mut screen, out, err) = paper();
        let args = Args {
            rules: rules.0.clone(),
            events: vec![folder.0.clone()],
            json,
        };
        let ended = run(&args, &mut screen);
        let plain = |text: String| text.replace(&format!("{}/", folder.0.display()), "");
        (ended, plain(out.text()), plain(err.text()))
    }

    fn every_form() -> Vec<(&'static str, Vec<u8>)> {
        let line = RECORD.replace('\n', " ");
        let later = line.replace("10:00:00", "12:30:00").replace("user/alice", "user/bob");
        let scanner = line.replace("198.51.100.7", "192.0.2.1");
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, format!("{later}\n{scanner}\n").as_bytes()).expect("a write");
        vec![
            (
                "records.json",
                format!(r#"{{"Records": [{line}, {later}]}}"#).into_bytes(),
            ),
            ("array.json", format!("[{RECORD}]").into_bytes()),
            ("lines.jsonl.gz", encoder.finish().expect("an end")),
            (
                "envelope.json",
                format!(r#"{{"source": "aws.ssm", "detail-type": "AWS API Call via CloudTrail", "detail": {RECORD}}}"#)
                    .into_bytes(),
            ),
        ]
    }

    #[test]
    fn every_form_is_read_and_counted() {
        let (ended, out, err) = tried("every-form", &every_form(), false);
        assert_eq!(ended, Ok(Exit::Done));
        insta::assert_snapshot!(out, @r"
        RULE              COUNT  FIRST                    LAST                     ENTITIES                                                         ACTION
        scanner           1      2026-11-22 10:00:00 UTC  2026-11-22 10:00:00 UTC  arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0  suppress
                                                                                   arn:aws:iam::222222222222:user/alice
        ssm-send-command  5      2026-11-22 10:00:00 UTC  2026-11-22 12:30:00 UTC  arn:aws:iam::222222222222:user/alice                             notify
                                                                                   arn:aws:iam::222222222222:user/bob
        ");
        assert!(err.contains("6 events in 4 files, 0 skipped; "), "{err}");
    }

    #[test]
    fn programs_get_exactly_the_documented_shape() {
        let (_, out, _) = tried("shape", &every_form(), true);
        insta::assert_snapshot!(out, @r#"
        {
          "events": 6,
          "skipped": 0,
          "rules": [
            {
              "name": "scanner",
              "count": 1,
              "first": "2026-11-22T10:00:00.000Z",
              "last": "2026-11-22T10:00:00.000Z",
              "entities": [
                "arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0",
                "arn:aws:iam::222222222222:user/alice"
              ],
              "action": "suppress"
            },
            {
              "name": "ssm-send-command",
              "count": 5,
              "first": "2026-11-22T10:00:00.000Z",
              "last": "2026-11-22T12:30:00.000Z",
              "entities": [
                "arn:aws:iam::222222222222:user/alice",
                "arn:aws:iam::222222222222:user/bob"
              ],
              "action": "notify"
            }
          ]
        }
        "#);
    }

    #[test]
    fn what_is_broken_is_named_and_skipped_and_the_exit_code_says_partial() {
        let line = RECORD.replace('\n', " ");
        let events = [
            ("a.jsonl", format!("{line}\n{{\"cut\": \n{line}\nnonsense\n").into_bytes()),
            ("b.json", b"{\"Records\": [{\"eventVersion\": \"1\", \"userIdentity\": {}}, 7".to_vec()),
            ("c.json.gz", vec![0x1f, 0x8b, 8, 0, 1, 2, 3]),
            ("d.json", b"{\"source\": \"aws.ec2\", \"detail-type\": \"EC2 Instance State-change Notification\", \"detail\": {}}".to_vec()),
            ("LICENSE", b"".to_vec()),
        ];
        let (ended, out, err) = tried("broken", &events, true);
        assert_eq!(ended, Ok(Exit::Partial));
        assert!(
            out.contains("\"events\": 2,") && out.contains("\"skipped\": 7,"),
            "{out}"
        );
        insta::assert_snapshot!(err.split("2 events").next().unwrap_or_default(), @r"
        skipped: a.jsonl: record 2, line 2: no JSON: EOF while parsing a value
        skipped: a.jsonl: record 4, line 4: no JSON: expected ident
        skipped: b.json: record 1, line 1: a CloudTrail record without eventSource and eventName
        skipped: b.json: record 2, line 1: neither an object nor an array of JSON
        skipped: b.json: record 2, line 1: the file ends before this does: it was cut off, or a quote or bracket is missing
        skipped: c.json.gz: the file can't be read any further: unexpected end of file
        skipped: d.json: record 1, line 1: an event of EventBridge of the type `EC2 Instance State-change Notification`, which no rule is about
        note: not read, since they don't end as files of events do: LICENSE
        ");
    }

    #[test]
    fn what_is_merely_about_something_else_is_no_failure() {
        let other =
            "{\"source\": \"aws.ec2\", \"detail-type\": \"EC2 Instance State-change Notification\", \"detail\": {}}";
        let (ended, _, err) = tried(
            "other",
            &[("a.jsonl", format!("{other}\n").repeat(15).into_bytes())],
            false,
        );
        assert_eq!(ended, Ok(Exit::Done));
        assert!(err.contains("skipped: a.jsonl: 5 more"), "{err}");
    }

    #[test]
    fn broken_rules_are_said_and_nothing_is_read() {
        let rules = Folder::with("broken-rules", &[("x.toml", "[[rule]]\n")]);
        let (mut screen, out, err) = paper();
        let args = Args {
            rules: rules.0.clone(),
            events: vec![rules.0.clone()],
            json: true,
        };
        assert!(run(&args, &mut screen).is_err_and(|trouble| trouble.exit == Exit::Failed));
        assert!(out.text().is_empty() && err.text().contains("x.toml:1:1: `name` is missing"));
    }
}
