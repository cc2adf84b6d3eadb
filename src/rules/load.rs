//! Puts the rule files of a folder together.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::decide::RuleSet;
use super::file::{self, Content};
use super::problem::{Lines, Problem, Problems};

impl RuleSet {
    /// Reads all files `*.toml` of a folder, in the order of their names.
    ///
    /// # Errors
    /// All that is wrong with any of them.
    pub fn load(folder: &Path) -> Result<Self, Problems> {
        let name = |path: &Path| path.display().to_string();
        let unread = |path: &Path, error: std::io::Error| Problem {
            file: name(path),
            spot: None,
            text: format!("it can't be read: {error}"),
        };
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.map_err(|error| Problems(vec![unread(folder, error)]))?;
        let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        if paths.is_empty() {
            return Err(Problems(vec![Problem {
                file: name(folder),
                spot: None,
                text: "there is no rule file (*.toml) in this folder".to_owned(),
            }]));
        }
        let mut problems = vec![];
        let mut texts = vec![];
        for path in paths {
            match fs::read_to_string(&path) {
                Ok(text) => texts.push((name(&path), text)),
                Err(error) => problems.push(unread(&path, error)),
            }
        }
        Self::read(
            texts.iter().map(|(file, text)| (file.as_str(), text.as_str())),
            problems,
        )
    }

    /// Reads rule files by name and text.
    ///
    /// # Errors
    /// All that is wrong with any of them.
    pub fn of_files<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> Result<Self, Problems> {
        Self::read(files.into_iter(), vec![])
    }

    fn read<'f>(files: impl Iterator<Item = (&'f str, &'f str)>, mut problems: Vec<Problem>) -> Result<Self, Problems> {
        let (mut rules, mut suppressions) = (vec![], vec![]);
        let mut places = HashMap::new();
        for (file, text) in files {
            let content = file::read(file, text);
            problems.extend(twice(&content, &mut places, text));
            problems.extend(content.problems);
            rules.extend(content.rules);
            suppressions.extend(content.suppressions);
        }
        if problems.is_empty() {
            Ok(Self::new(rules, suppressions))
        } else {
            problems.sort_by(|one, other| place(one).cmp(&place(other)));
            Err(Problems(problems))
        }
    }
}

fn place(problem: &Problem) -> (&str, usize, usize) {
    let (line, column) = problem.spot.as_ref().map_or((0, 0), |spot| (spot.line, spot.column));
    (&problem.file, line, column)
}

/// Names that something has already.
fn twice(content: &Content, places: &mut HashMap<String, String>, text: &str) -> Vec<Problem> {
    let suppressions = content.suppressions.iter().map(|one| &one.clause);
    let mut clauses: Vec<_> = suppressions
        .chain(content.rules.iter().map(|one| &one.clause))
        .collect();
    clauses.sort_by_key(|clause| clause.origin.line);
    let mut found = vec![];
    for clause in clauses {
        let earlier = places.insert(clause.name.clone(), clause.origin.to_string());
        if let Some(earlier) = earlier {
            found.push(Problem {
                file: clause.origin.file.clone(),
                spot: Some(Lines::of(text).begin(clause.origin.line)),
                text: format!("the name `{}` is taken already, at {earlier}", clause.name),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str) -> String {
        format!("[[rule]]\nname = \"{name}\"\ntitle = \"t\"\nseverity = 2\nwhen = 'a = 1'\naction = \"notify\"\n")
    }

    #[test]
    fn a_name_is_taken_once_in_all_files_by_rules_and_suppressions_alike() {
        let one = format!("{}{}", rule("a"), rule("a"));
        let other = "\n[[suppress]]\nname = \"a\"\nwhen = 'a = 1'\nreason = \"r\"\nexpires = 2027-01-01\n";
        let problems = RuleSet::of_files([("one.toml", one.as_str()), ("two.toml", other)]).expect_err("problems");
        assert_eq!(
            problems.to_string(),
            "one.toml:7:1: the name `a` is taken already, at one.toml:1\n\
             two.toml:2:1: the name `a` is taken already, at one.toml:7"
        );
    }

    #[test]
    fn a_folder_is_read_whole_and_one_without_rules_is_a_problem() {
        let folder = std::env::temp_dir().join(format!("entity-lockdown-rules-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let empty = RuleSet::load(&folder).expect_err("a problem").to_string();
        assert!(empty.contains("no rule file"), "{empty}");
        fs::write(folder.join("b.toml"), rule("b")).expect("a file");
        fs::write(folder.join("a.toml"), rule("a")).expect("a file");
        fs::write(folder.join("c.txt"), "no rules").expect("a file");
        let set = RuleSet::load(&folder).expect("rules");
        let names: Vec<&str> = set.clauses().map(|clause| clause.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        fs::write(folder.join("d.toml"), [0xff, 0xfe]).expect("a file");
        let unread = RuleSet::load(&folder).expect_err("a problem").to_string();
        assert!(unread.contains("d.toml: it can't be read"), "{unread}");
        fs::remove_dir_all(&folder).expect("a folder");
        let absent = RuleSet::load(&folder).expect_err("a problem").to_string();
        assert!(absent.contains("it can't be read"), "{absent}");
    }
}
