//! The ExternalId: from the environment, a file or a hidden prompt, and never from the argument list, which others can read.

use std::fmt;
use std::io::{IsTerminal, Read};
use std::path::Path;

use crate::trouble::Trouble;

/// The variable of the environment that may hold it.
pub const VARIABLE: &str = "LOCKDOWN_EXTERNAL_ID";

/// The most that is read of a file: STS takes 1,224 characters at most (AWS STS API Reference, "AssumeRole").
const MOST_BYTES: u64 = 4096;

/// The shared secret that a message must carry. It goes into messages, and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalId(String);

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalId(..)")
    }
}

impl ExternalId {
    /// The text, for a message.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Takes a text as STS takes it: 2 to 1,224 of its characters, one line's end behind it ignored.
    fn of(text: &str, source: &str) -> Result<Self, Trouble> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let good = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
        if text.is_empty() {
            return Err(Trouble::usage(format!("the ExternalId from {source} is empty")));
        }
        if !text.chars().all(good) || !(2..=1224).contains(&text.len()) {
            return Err(Trouble::usage(format!(
                "what comes from {source} is no ExternalId: 2 to 1,224 letters, digits and characters of `_+=,.@:/-` in one line \
                 (it is not shown here)"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Finds the ExternalId: in the file, if one is named (`-` is standard input), else in the environment, else by asking.
///
/// # Errors
/// It is nowhere, or malformed; the text never repeats it.
pub fn find(file: Option<&Path>, variable: Option<&str>) -> Result<ExternalId, Trouble> {
    if let Some(file) = file {
        let source = if file == Path::new("-") {
            "standard input".to_owned()
        } else {
            format!("the file `{}`", file.display())
        };
        return ExternalId::of(&read(file, &source)?, &source);
    }
    if let Some(text) = variable.filter(|text| !text.is_empty()) {
        return ExternalId::of(text, &format!("the variable {VARIABLE}"));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Trouble::usage(format!(
            "the ExternalId is missing, and there is no terminal to ask for it: set {VARIABLE}, or name a file with --external-id-file"
        )));
    }
    let typed = rpassword::prompt_password("ExternalId of this deployment (not shown): ").map_err(|error| {
        Trouble::usage(format!(
            "the ExternalId can't be asked for: {error}; set {VARIABLE} or use --external-id-file"
        ))
    })?;
    ExternalId::of(typed.trim(), "the prompt")
}

fn read(file: &Path, source: &str) -> Result<String, Trouble> {
    let wrong =
        |error: std::io::Error| Trouble::not_found(format!("the ExternalId can't be read from {source}: {error}"));
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin()
            .take(MOST_BYTES)
            .read_to_string(&mut text)
            .map_err(wrong)?;
    } else {
        let file = std::fs::File::open(file).map_err(wrong)?;
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(wrong)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_from_the_file_before_the_environment_and_never_shows() {
        let path = std::env::temp_dir().join(format!("lockdown-secret-{}", std::process::id()));
        std::fs::write(&path, "from-the-file\r\n").expect("a file");
        let found = find(Some(&path), Some("from-the-variable"));
        std::fs::remove_file(&path).expect("a file");
        let found = found.expect("a secret");
        assert_eq!(found.reveal(), "from-the-file");
        assert_eq!(format!("{found:?}"), "ExternalId(..)");
        assert_eq!(
            find(None, Some("from-the-variable")).expect("a secret").reveal(),
            "from-the-variable"
        );
    }

    #[test]
    fn what_is_no_external_id_is_refused_without_being_repeated() {
        for text in [
            "hunter2 hunter2",
            "hunter2\nhunter2",
            "h",
            "hunter2\u{1b}",
            &"hunter2".repeat(300),
        ] {
            let said = find(None, Some(text)).expect_err("a refusal").text;
            assert!(!said.contains("hunter2") && said.contains(VARIABLE), "{said}");
        }
        let said = find(Some(Path::new("/nowhere/at/all")), None).expect_err("a refusal");
        assert!(said.text.contains("/nowhere/at/all"), "{said}");
    }
}
