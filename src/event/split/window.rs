//! The part of a reader that is being looked at.

use std::io::{self, Read};

use memchr::memchr_iter;

/// A reader, and what has been read of it and is not done with.
pub(super) struct Window<R> {
    reader: R,
    /// How much is read at once, in bytes.
    chunk: usize,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
    line: u64,
}

impl<R: Read> Window<R> {
    pub fn new(reader: R, chunk: usize) -> Self {
        Self {
            reader,
            chunk,
            buffer: Vec::new(),
            start: 0,
            ended: false,
            line: 1,
        }
    }

    /// What has been read and is not done with.
    pub fn held(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// So many bytes of that, or all.
    pub fn first(&self, length: usize) -> &[u8] {
        self.held().get(..length).unwrap_or_else(|| self.held())
    }

    /// One byte of that, or of what comes next; `None` behind the end.
    pub fn byte(&mut self, at: usize) -> io::Result<Option<u8>> {
        while self.held().len() <= at {
            if !self.more()? {
                return Ok(None);
            }
        }
        Ok(self.held().get(at).copied())
    }

    /// Reads on; says whether there was anything.
    pub fn more(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.reserve(self.chunk);
        let read = self
            .reader
            .by_ref()
            .take(self.chunk as u64)
            .read_to_end(&mut self.buffer);
        self.ended = !matches!(read, Ok(1..));
        read.map(|read| read > 0)
    }

    /// Is done with so many bytes, or with all that are held.
    pub fn consume(&mut self, length: usize) {
        let done = self.first(length);
        let (length, lines) = (done.len(), memchr_iter(b'\n', done).count());
        self.start += length;
        self.line += lines as u64;
    }

    /// The line in which the held part begins, counted from one.
    pub fn line(&self) -> u64 {
        self.line
    }
}
