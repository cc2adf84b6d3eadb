//! Reads one rule file: TOML with `[[rule]]` and `[[suppress]]`. All that is wrong is found at once.

mod table;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Lines, Problem};
use super::rule::{Rule, Suppression};
use super::words;
use table::Table;

const TABLES: &[&str] = &["rule", "suppress"];
const RULE: &[&str] = &[
    "name", "title", "severity", "when", "pattern", "action", "entities", "reason", "owner", "enabled", "expires",
];
const SUPPRESS: &[&str] = &[
    "name", "title", "when", "pattern", "reason", "owner", "enabled", "expires",
];

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub rules: Vec<Rule>,
    pub suppressions: Vec<Suppression>,
    pub problems: Vec<Problem>,
}

/// Reads a file of this name.
pub(super) fn read(file: &str, text: &str) -> Content {
    let mut reader = Reader {
        file,
        text,
        lines: Lines::of(text),
        problems: vec![],
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.problem(
            error.span().map_or(0, |span| span.start),
            format!("no TOML: {}", error.message()),
        );
    }
    let (mut rules, mut suppressions) = (vec![], vec![]);
    // What could be read in spite of errors in the TOML may lack parts: to speak of those would mislead.
    if errors.is_empty() {
        for (key, value) in table.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("rule", DeValue::Array(tables)) => {
                    rules.extend(tables.iter().filter_map(|table| reader.table(table, "rule")?.rule()));
                }
                ("suppress", DeValue::Array(tables)) => {
                    suppressions.extend(
                        tables
                            .iter()
                            .filter_map(|table| reader.table(table, "suppress")?.suppression()),
                    );
                }
                (name @ ("rule" | "suppress"), _) => {
                    reader.problem(
                        key.span().start,
                        format!("`{name}` is a list of tables: write [[{name}]]"),
                    );
                }
                (name, _) => reader.unknown(key.span().start, name, "a rule file", TABLES),
            }
        }
    }
    Content {
        rules,
        suppressions,
        problems: reader.problems,
    }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    lines: Lines<'a>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn problem(&mut self, at: usize, text: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            spot: Some(self.lines.spot(at)),
            text: text.into(),
        });
    }

    fn unknown(&mut self, at: usize, name: &str, place: &str, known: &[&str]) {
        let meant = words::nearest(name, known.iter().copied());
        let meant = meant.map_or(String::new(), |meant| format!(": did you mean `{meant}`?"));
        let known = known.join(", ");
        self.problem(
            at,
            format!("unknown key `{name}` in {place}{meant} (there are {known})"),
        );
    }

    /// One table of a list.
    fn table<'t>(&mut self, value: &'t Spanned<DeValue<'t>>, kind: &'static str) -> Option<Table<'_, 'a, 't>> {
        let at = value.span().start;
        let DeValue::Table(table) = value.get_ref() else {
            self.problem(at, format!("`{kind}` is a list of tables: write [[{kind}]]"));
            return None;
        };
        let known = if kind == "rule" { RULE } else { SUPPRESS };
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            self.unknown(key.span().start, key.get_ref(), &format!("[[{kind}]]"), known);
        }
        Some(Table::new(self, table, kind, at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::{Response, Whom};
    use super::*;

    const GOOD: &str = r#"
[[rule]]
name = "ssm-send-command"
title = "Somebody ran a command"
severity = 3
when = 'event_type = "cloudtrail" and eventName = "SendCommand"'
action = "contain"
entities = "principal"
reason = "nobody does that here"
owner = "platform"
enabled = false
expires = 2027-06-30T12:00:00+02:00

[[rule]]
name = "guardduty"
title = "A finding"
severity = 1
pattern = '''
{"source": ["aws.guardduty"], "detail": {"type": [{"prefix": "X"}]}}'''
action = "notify"

[[suppress]]
name = "scanner"
when = "sourceIPAddress cidr \"192.0.2.0/24\""
reason = "our own scanner"
expires = 2027-06-30
"#;

    #[test]
    fn a_whole_file_is_read() {
        let content = read("good.toml", GOOD);
        assert_eq!(content.problems, []);
        let [one, two] = content.rules.as_slice() else {
            panic!("{:?}", content.rules);
        };
        assert_eq!(
            (one.response, one.whom, one.severity),
            (Response::Contain, Whom::Principal, 3)
        );
        assert_eq!(one.clause.owner.as_deref(), Some("platform"));
        assert!(!one.clause.enabled);
        assert_eq!(
            one.clause.expires.map(|time| time.to_string()).as_deref(),
            Some("2027-06-30T10:00:00.000Z")
        );
        assert_eq!(one.clause.origin.to_string(), "good.toml:2");
        assert_eq!((two.response, two.whom), (Response::Notify, Whom::All));
        assert_eq!(
            two.clause.condition.to_string(),
            r#"envelope.source = "aws.guardduty" and type starts_with "X""#
        );
        let [suppression] = content.suppressions.as_slice() else {
            panic!("{:?}", content.suppressions);
        };
        assert!(suppression.clause.enabled);
        assert_eq!(
            suppression.clause.expires.map(|time| time.to_string()).as_deref(),
            Some("2027-07-01T00:00:00.000Z")
        );
    }

    /// A rule that is sound but for the line that replaces another.
    fn problems(replaced: &str, by: &str) -> Vec<String> {
        let rule = "[[rule]]\nname = \"n\"\ntitle = \"t\"\nseverity = 2\nwhen = 'a = 1'\naction = \"notify\"\n";
        let suppress = "[[suppress]]\nname = \"s\"\nwhen = 'a = 1'\nreason = \"r\"\nexpires = 2027-01-01\n";
        let text = format!("{rule}{suppress}");
        assert!(text.contains(replaced), "{replaced}");
        let text = text.replacen(replaced, by, 1);
        read("x.toml", &text).problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_mistake_is_said_with_its_place_and_what_was_meant() {
        for (replaced, by, expected) in [
            ("severity = 2", "severity = 4", "x.toml:4:12: `severity` is 1"),
            ("severity = 2", "severity = \"2\"", "x.toml:4:12: `severity` is 1"),
            ("severity = 2\n", "", "x.toml:1:1: `severity` is missing"),
            ("title = \"t\"\n", "", "x.toml:1:1: `title` is missing"),
            (
                "title = \"t\"",
                "title = 5",
                "x.toml:3:9: `title` is a text, not a number",
            ),
            ("title = \"t\"", "title = \" \"", "x.toml:3:9: `title` is empty"),
            ("name = \"n\"\n", "", "x.toml:1:1: `name` is missing"),
            ("name = \"n\"", "name = \"a b\"", "x.toml:2:8: a `name` is"),
            (
                "title = \"t\"",
                "titel = \"t\"\ntitle = \"t\"",
                "x.toml:3:1: unknown key `titel` in [[rule]]: did you mean `title`?",
            ),
            (
                "title = \"t\"",
                "title = \"t\"\nbanana = 1",
                "x.toml:4:1: unknown key `banana` in [[rule]] (there are name, title",
            ),
            (
                "action = \"notify\"",
                "action = \"notfy\"",
                "x.toml:6:10: `action` can't be \"notfy\": did you mean \"notify\"?",
            ),
            (
                "action = \"notify\"",
                "action = \"contain\"",
                "x.toml:1:1: `entities` is missing",
            ),
            (
                "action = \"notify\"",
                "action = \"notify\"\nentities = \"both\"",
                "x.toml:7:12: `entities` can't be \"both\" (there are principal, resource, all)",
            ),
            (
                "when = 'a = 1'\naction",
                "action",
                "x.toml:1:1: `when` or `pattern` is missing",
            ),
            (
                "when = 'a = 1'\naction",
                "when = 'a = 1'\npattern = '{\"source\": [\"x\"]}'\naction",
                "x.toml:1:1: `when` and `pattern`",
            ),
            ("when = 'a = 1'", "when = 'a == 1'", "x.toml:5:11: in `when`: `==`"),
            (
                "when = 'a = 1'",
                "when = '''\na = 1 and\n  b == 1'''",
                "x.toml:7:5: in `when`: `==`",
            ),
            (
                "when = 'a = 1'",
                "when = \"a == \\\"x\\\"\"",
                "x.toml:5:8: in `when`: `==`",
            ),
            (
                "when = 'a = 1'",
                "pattern = '{\"detail\": {\"a\": 1}}'",
                "x.toml:5:29: in `pattern`: a value stands in an array",
            ),
            (
                "when = 'a = 1'",
                "when = true",
                "x.toml:5:8: `when` is a text, not true or false",
            ),
            (
                "action = \"notify\"",
                "action = \"notify\"\nenabled = \"yes\"",
                "x.toml:7:11: `enabled` is true or false, not a text",
            ),
            (
                "action = \"notify\"",
                "action = \"notify\"\nexpires = \"2027-01-01\"",
                "x.toml:7:11: `expires` stands without quotes",
            ),
            (
                "action = \"notify\"",
                "action = \"notify\"\nexpires = 2027-01-01T00:00:00",
                "x.toml:7:11: `expires` is without a time zone",
            ),
            (
                "action = \"notify\"",
                "action = \"notify\"\nexpires = 10:00:00",
                "x.toml:7:11: `expires` is a day like",
            ),
            (
                "[[rule]]",
                "[rule]",
                "x.toml:1:2: `rule` is a list of tables: write [[rule]]",
            ),
            (
                "[[rule]]",
                "[[rules]]",
                "x.toml:1:3: unknown key `rules` in a rule file: did you mean `rule`?",
            ),
            ("[[suppress]]", "severity = 1\n[[suppress]]", "no TOML"),
            (
                "reason = \"r\"\n",
                "",
                "x.toml:7:1: `reason` is missing in [[suppress]]",
            ),
            (
                "expires = 2027-01-01\n",
                "",
                "x.toml:7:1: `expires` is missing in [[suppress]]",
            ),
            (
                "reason = \"r\"",
                "reason = \"r\"\naction = \"notify\"",
                "x.toml:11:1: unknown key `action` in [[suppress]]",
            ),
        ] {
            let found = problems(replaced, by);
            assert!(
                found.len() == 1 && found.iter().all(|one| one.contains(expected)),
                "{by}: {found:#?}"
            );
        }
    }

    #[test]
    fn all_mistakes_are_said_at_once() {
        let text = "[[rule]]\nname = \"n\"\nseverity = 9\nwhen = 'a =='\naction = \"x\"\nfoo = 1\n[[suppress]]\n";
        assert_eq!(read("x.toml", text).problems.len(), 9);
    }

    #[test]
    fn what_is_no_toml_is_said_with_its_place() {
        let found = read("x.toml", "[[rule]]\nname = \n[[rule]\n").problems;
        assert!(
            found
                .iter()
                .all(|one| one.text.starts_with("no TOML") && one.spot.is_some())
                && !found.is_empty(),
            "{found:?}"
        );
    }
}
