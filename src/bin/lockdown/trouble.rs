//! How the command ends: what goes wrong, for the person who must act, and the exit code that tells programs.

use std::process::ExitCode;

/// What a program reads from the end of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All was done.
    Done,
    /// Something was not done at all.
    Failed,
    /// AWS or the journal is out of reach, or refuses these credentials.
    OutOfReach,
    /// There is no such thing.
    NotFound,
    /// Something was done in part only.
    Partial,
    /// The time for waiting is over.
    TimedOut,
    /// The request itself makes no sense.
    Usage,
}

/// The codes, for the help.
pub const CODES: &str = "\
Exit codes:
  0  done: published; with --wait, every entity contained or released; a cleanup without a failure
  1  failed: with --wait, an entity is not contained or not released at all; a cleanup in which everything failed; rules: the
     files have mistakes
  2  usage: an option is missing or malformed; nothing was done
  3  AWS or the journal is out of reach, or refuses the credentials
  4  not found: no such record, topic, table, file or folder
  5  partial: with --wait, an entity is contained or released in part only; a cleanup in which something failed; rules test:
     something could not be read, and was named and skipped
  6  --timeout passed, and what was asked for has not ended";

impl Exit {
    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::OutOfReach => 3,
            Self::NotFound => 4,
            Self::Partial => 5,
            Self::TimedOut => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What keeps a verb from its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Trouble {
    /// The code to end with.
    pub exit: Exit,
    /// What is wrong, and what to do.
    pub text: String,
}

impl Trouble {
    /// The request makes no sense.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// There is no such thing.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, text)
    }

    /// AWS or the journal can't be reached.
    pub fn out_of_reach(text: impl Into<String>) -> Self {
        Self::new(Exit::OutOfReach, text)
    }

    /// Something was not done.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, text)
    }

    fn new(exit: Exit, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { exit, text }
    }
}
