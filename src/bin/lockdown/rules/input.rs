//! The files that events are read from.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;

use crate::trouble::Trouble;

/// How files end that are read in a folder; each may be gzipped.
const ENDINGS: &[&str] = &["json", "jsonl", "ndjson"];

/// What a file begins with that is gzipped (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The files to read.
#[derive(Debug, Default)]
pub struct Inputs {
    /// In the order in which they are read.
    pub files: Vec<PathBuf>,
    /// Files of folders that are left out, since they don't seem to hold events.
    pub left_out: Vec<PathBuf>,
    /// Folders that can't be read.
    pub unread: Vec<(PathBuf, io::Error)>,
}

impl Inputs {
    /// The files that these names stand for: a file for itself, a folder for all that it holds.
    ///
    /// # Errors
    /// One of them is not there, or there is no file at all.
    pub fn of(names: &[PathBuf]) -> Result<Self, Trouble> {
        let mut inputs = Self::default();
        for name in names {
            if name.is_dir() {
                inputs.folder(name);
            } else if name == Path::new("-") || name.exists() {
                inputs.files.push(name.clone());
            } else {
                return Err(Trouble::not_found(format!(
                    "there is no file or folder `{}`",
                    name.display()
                )));
            }
        }
        if inputs.files.is_empty() && inputs.unread.is_empty() {
            return Err(Trouble::not_found(format!(
                "there is no file of events in it: none ends with .{}, or that with .gz",
                ENDINGS.join(", .")
            )));
        }
        Ok(inputs)
    }

    fn folder(&mut self, folder: &Path) {
        let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.unread.push((folder.to_owned(), error)),
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            // A link to a folder could lead round in a circle.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder {
                self.folder(&path);
            } else if holds_events(&path) {
                self.files.push(path);
            } else {
                self.left_out.push(path);
            }
        }
    }

    /// How many bytes there are to read.
    pub fn size(&self) -> u64 {
        let size = |path: &PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
        self.files.iter().map(size).sum()
    }
}

fn holds_events(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    plain
        .rsplit_once('.')
        .is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

/// Opens a file, gzipped or not, whatever it is called; `-` is standard input. The bar moves with what is read of it.
///
/// # Errors
/// It can't be opened.
pub fn open(path: &Path, bar: &ProgressBar) -> io::Result<Box<dyn Read>> {
    let file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path)?)
    };
    unpacked(bar.wrap_read(file))
}

/// What a reader gives, unpacked if it is gzipped. A file may be several of them, one after the other.
fn unpacked(mut reader: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut first = vec![];
    reader.by_ref().take(GZIP.len() as u64).read_to_end(&mut first)?;
    let gzipped = first == GZIP;
    let whole = Cursor::new(first).chain(reader);
    Ok(if gzipped {
        Box::new(MultiGzDecoder::new(whole))
    } else {
        Box::new(whole)
    })
}

/// Counts what is read through it.
pub struct Counted<'c, R> {
    /// What is read.
    pub reader: R,
    /// How many bytes so far.
    pub count: &'c mut u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(into)?;
        *self.count += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::tests::Folder;
    use super::*;

    /// A text, gzipped.
    pub fn gzipped(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::default());
        encoder.write_all(text.as_bytes()).expect("a write");
        encoder.finish().expect("an end")
    }

    #[test]
    fn a_folder_stands_for_its_files_of_events_and_what_is_left_out_is_known() {
        let files = ["b.json", "a.JSONL", "c/d.ndjson.gz", "c/LICENSE", "x.gz", "e.json.bak"];
        let folder = Folder::with("inputs", &files.map(|name| (name, "")));
        let inputs = Inputs::of(std::slice::from_ref(&folder.0)).expect("inputs");
        let names = |paths: &[PathBuf]| -> Vec<String> {
            let name = |path: &PathBuf| path.strip_prefix(&folder.0).expect("within").display().to_string();
            paths.iter().map(name).collect()
        };
        assert_eq!(names(&inputs.files), ["a.JSONL", "b.json", "c/d.ndjson.gz"]);
        assert_eq!(names(&inputs.left_out), ["c/LICENSE", "e.json.bak", "x.gz"]);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let folder = Folder::with("no-inputs", &[("LICENSE", "")]);
        for name in [PathBuf::from("no/such/file"), folder.0.clone()] {
            assert!(Inputs::of(&[name]).is_err_and(|trouble| trouble.exit == crate::trouble::Exit::NotFound));
        }
    }

    #[test]
    fn gzip_is_known_by_its_bytes_and_may_come_in_several_parts() {
        let parts = [gzipped("one "), gzipped("two")].concat();
        for (bytes, expected) in [
            (parts, "one two"),
            (b"plain".to_vec(), "plain"),
            (vec![0x1f], "\u{1f}"),
            (vec![], ""),
        ] {
            let mut text = String::new();
            unpacked(Cursor::new(bytes))
                .and_then(|mut reader| reader.read_to_string(&mut text))
                .expect("a text");
            assert_eq!(text, expected);
        }
    }
}
