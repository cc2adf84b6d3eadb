//! As much HTTP/1.1 as AWS SDKs speak: requests with a length, one after the other, on a connection that stays.

use std::io::{Read, Write};

use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName};
use hyper::http::request::Parts;

use crate::AnyError;
use crate::log::now;

/// How much is read at once, and how long a head may be.
const CHUNK: usize = 16 * 1024;

/// What the answers depend on; other headers are left out.
const KEPT: [HeaderName; 2] = [AUTHORIZATION, HeaderName::from_static("x-amz-target")];

/// One request.
pub struct Asked {
    /// Method, path, and the headers that are kept.
    pub parts: Parts,
    /// The whole body.
    pub body: Bytes,
    /// When the last byte of it had come, as in [`now`].
    pub came: u64,
}

/// One answer.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// MIME type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// Answers one request after the other until the client has gone; what `answer` gives beside the answer is run after it was sent.
pub fn serve<S, A, F>(mut stream: S, mut answer: A) -> Result<(), AnyError>
where
    S: Read + Write,
    A: FnMut(Asked) -> (Reply, F),
    F: FnOnce(),
{
    let mut read = Vec::new();
    while let Some(asked) = next(&mut stream, &mut read)? {
        let (reply, after) = answer(asked);
        let head = format!(
            "HTTP/1.1 {} X\r\ncontent-type: {}\r\ncontent-length: {}\r\nx-amzn-requestid: bench\r\n\r\n",
            reply.status,
            reply.content_type,
            reply.body.len()
        );
        // One write: one packet.
        stream.write_all(format!("{head}{}", reply.body).as_bytes())?;
        stream.flush()?;
        after();
    }
    Ok(())
}

/// The next request; nothing when the client has gone. What was read beyond it stays in `read`.
fn next(stream: &mut impl Read, read: &mut Vec<u8>) -> Result<Option<Asked>, AnyError> {
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let (head, length) = head(read.get(..end).unwrap_or_default())?;
            let whole = end + 4 + length;
            while read.len() < whole {
                if more(stream, read)? == 0 {
                    return Ok(None);
                }
            }
            let came = now();
            let rest = read.split_off(whole);
            let body = Bytes::from(read.split_off(end + 4));
            *read = rest;
            let parts = head.into_parts().0;
            return Ok(Some(Asked { parts, body, came }));
        }
        if read.len() > CHUNK {
            return Err("a head without end".into());
        }
        if more(stream, read)? == 0 {
            return Ok(None);
        }
    }
}

fn more(stream: &mut impl Read, read: &mut Vec<u8>) -> Result<usize, AnyError> {
    let mut chunk = [0; CHUNK];
    let count = stream.read(&mut chunk)?;
    read.extend_from_slice(chunk.get(..count).unwrap_or_default());
    Ok(count)
}

/// Method, path and headers, and the body's length.
fn head(bytes: &[u8]) -> Result<(Request<()>, usize), AnyError> {
    let text = std::str::from_utf8(bytes)?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let mut request = Request::builder()
        .method(first.next().unwrap_or_default())
        .uri(first.next().unwrap_or_default());
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse()?;
        } else if let Some(kept) = KEPT.iter().find(|kept| name.eq_ignore_ascii_case(kept.as_str())) {
            request = request.header(kept, value);
        }
    }
    Ok((request.body(())?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_on_one_connection_are_told_apart() {
        let sent = "POST / HTTP/1.1\r\nContent-Length: 3\r\nx-amz-target: A.B\r\n\r\nabcGET /x HTTP/1.1\r\n\r\n";
        let (mut stream, mut read, mut seen) = (sent.as_bytes(), Vec::new(), Vec::new());
        while let Ok(Some(asked)) = next(&mut stream, &mut read) {
            let body = String::from_utf8_lossy(&asked.body).into_owned();
            seen.push(format!("{} {} {body}", asked.parts.method, asked.parts.uri.path()));
        }
        assert_eq!(seen, ["POST / abc", "GET /x "]);
    }
}
