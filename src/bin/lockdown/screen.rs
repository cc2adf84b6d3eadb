//! What the command writes: results to standard output, everything else to standard error.

use std::io::{self, ErrorKind, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::trouble::Trouble;

/// The two outputs and what is known of them.
pub struct Screen {
    out: Stream,
    err: Stream,
    /// How many columns standard output has, if it is a terminal.
    pub width: Option<u16>,
    /// Whether colours are wanted there.
    pub color: bool,
    /// Whether standard error is a terminal: only then something may move on it.
    pub lively: bool,
}

/// One output. A reader that has gone away is no reason to stop half-way through a publication.
struct Stream {
    sink: Box<dyn Write>,
    gone: bool,
    failure: Option<io::Error>,
}

impl Stream {
    fn new(sink: impl Write + 'static) -> Self {
        Self {
            sink: Box::new(sink),
            gone: false,
            failure: None,
        }
    }

    fn write(&mut self, text: &str) {
        if self.gone {
            return;
        }
        let written = self.sink.write_all(text.as_bytes()).and_then(|()| self.sink.flush());
        if let Err(error) = written {
            self.gone = true;
            self.failure = Some(error).filter(|error| error.kind() != ErrorKind::BrokenPipe);
        }
    }
}

impl Screen {
    /// The process's own outputs.
    pub fn of_process() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = io::stdout().is_terminal();
        Self {
            out: Stream::new(io::stdout()),
            err: Stream::new(io::stderr()),
            width: Table::new().width().filter(|_| terminal),
            color: terminal && !dumb && !set("NO_COLOR"),
            lively: io::stderr().is_terminal() && !dumb,
        }
    }

    /// Writes results: lines of text, without the control characters that a terminal would obey.
    pub fn show(&mut self, text: &str) {
        self.out.write(&lines(text));
    }

    /// Writes what this screen's own tables are made of, colours included.
    pub fn show_as_is(&mut self, text: &str) {
        self.out.write(&format!("{text}\n"));
    }

    /// Writes results for programs.
    ///
    /// # Errors
    /// None that the command's own types can cause.
    pub fn show_json(&mut self, value: &impl Serialize) -> Result<(), Trouble> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Trouble::failed(format!("the result can't be written as JSON: {error}")))?;
        self.out.write(&format!("{text}\n"));
        Ok(())
    }

    /// Says something beside the results.
    pub fn say(&mut self, text: &str) {
        self.err.write(&lines(text));
    }

    /// Asks something, without a line's end.
    pub fn ask(&mut self, text: &str) {
        self.err.write(&clean(text));
    }

    /// Whether all of the results were written, as far as somebody was there to read them.
    ///
    /// # Errors
    /// Such as a disk that is full.
    pub fn finish(self) -> Result<(), Trouble> {
        match self.out.failure {
            Some(error) => Err(Trouble::failed(format!("the results can't be written: {error}"))),
            None => Ok(()),
        }
    }
}

/// A text without the control characters that a terminal would obey.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { '?' } else { c })
        .collect()
}

/// A table without lines, as wide as the terminal, or as it needs where there is none.
pub fn table<const COLUMNS: usize>(header: [&str; COLUMNS], width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).force_no_tty();
    if let Some(width) = width {
        table
            .set_width(width)
            .set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(header);
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table
}

fn lines(text: &str) -> String {
    format!("{}\n", clean(text).trim_end_matches('\n'))
}

#[cfg(test)]
pub mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// What was written to one output.
    #[derive(Clone, Default)]
    pub struct Paper(Rc<RefCell<Vec<u8>>>);

    impl Paper {
        /// All of it.
        pub fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.borrow()).into_owned()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A screen that is no terminal, with its two outputs.
    pub fn paper() -> (Screen, Paper, Paper) {
        let (out, err) = (Paper::default(), Paper::default());
        let screen = Screen {
            out: Stream::new(out.clone()),
            err: Stream::new(err.clone()),
            width: None,
            color: false,
            lively: false,
        };
        (screen, out, err)
    }

    /// An output that fails in this way.
    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_and_a_full_disk_is_one() {
        for (kind, fine) in [(ErrorKind::BrokenPipe, true), (ErrorKind::StorageFull, false)] {
            let (mut screen, ..) = paper();
            screen.out = Stream::new(Broken(kind));
            screen.show("one");
            screen.show("two");
            assert_eq!(screen.finish().is_ok(), fine, "{kind}");
        }
    }

    #[test]
    fn nothing_that_a_terminal_would_obey_is_shown() {
        let (mut screen, out, _) = paper();
        screen.show("a\u{1b}[2Jb\u{9b}c\nd");
        assert_eq!(out.text(), "a?[2Jb?c\nd\n");
    }
}
