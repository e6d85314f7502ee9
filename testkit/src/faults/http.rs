//! HTTP/1.1 messages, as far as S3 clients and servers send them: whole, with a length or in chunks.

use std::io::{self, BufRead, Read};

use super::Request;

/// A request or an answer.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// The first line.
    pub(super) start: String,
    /// The other lines of the head, as they came.
    pub(super) headers: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Reads the head; `None` where the connection has ended.
    pub(super) fn read_head(connection: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            lines.push(line.to_owned());
        }
        let mut lines = lines.into_iter();
        Ok(Some(Self { start: lines.next().unwrap_or_default(), headers: lines.collect(), body: Vec::new() }))
    }

    /// Reads the body that the head announces.
    pub(super) fn read_body(&mut self, connection: &mut impl BufRead) -> io::Result<()> {
        if self.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            self.body = read_chunks(connection)?;
        } else if let Some(length) = self.header("content-length") {
            self.body = vec![0; length.parse().map_err(io::Error::other)?];
            connection.read_exact(&mut self.body)?;
        }
        Ok(())
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (this, value) = line.split_once(':')?;
            this.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// An answer to HEAD that says that the object has so many hundredths of its size.
    pub(super) fn resize(&mut self, percent: u16) {
        let Some(length) = self.header("content-length").and_then(|length| length.parse::<u64>().ok()) else { return };
        self.headers.retain(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
        self.headers.push(format!("content-length: {}", length * u64::from(percent) / 100));
    }

    /// The head with the body's length, whatever way it came.
    pub(super) fn head(&self) -> Vec<u8> {
        let is_framing = |line: &&String| {
            let name = line.split(':').next().unwrap_or_default();
            ["content-length", "transfer-encoding", "trailer"].iter().any(|other| name.eq_ignore_ascii_case(other))
        };
        let kept = self.headers.iter().filter(|line| !is_framing(line)).map(String::as_str);
        let mut lines: Vec<&str> = std::iter::once(self.start.as_str()).chain(kept).collect();
        let length = format!("content-length: {}", self.body.len());
        lines.push(&length);
        (lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }

    /// The head as it came.
    pub(super) fn original_head(&self) -> Vec<u8> {
        let lines: Vec<&str> =
            std::iter::once(self.start.as_str()).chain(self.headers.iter().map(String::as_str)).collect();
        (lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }

    /// An answer of S3 that says what failed. Answers to HEAD have no body.
    pub(super) fn refusal(status: u16, code: &str, to_head: bool) -> Self {
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>as ordered</Message></Error>"
        );
        let start = format!("HTTP/1.1 {status} {code}");
        let body = if to_head { Vec::new() } else { xml.into_bytes() };
        Self { start, headers: vec!["content-type: application/xml".to_owned()], body }
    }

    pub(super) fn request(&self) -> Request {
        let mut words = self.start.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let range = self.header("range").unwrap_or_default().to_owned();
        Request { method, path: path.to_owned(), query: query.to_owned(), range }
    }
}

fn read_chunks(connection: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        let read = connection.by_ref().take(size).read_to_end(&mut body)?;
        if read as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The line's end; after the last chunk the empty line that ends trailers, of which S3 sends none.
        connection.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(body);
        }
    }
}
