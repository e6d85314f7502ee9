//! One small HTTP/1.1 GET without TLS, for the metadata endpoint of a container: an HTTP client such as `ureq` would take longer to
//! start than the answer takes to come.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// What is longer than this is not metadata.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or no whole answer in time.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// An answer other than 200.
    #[error("answered {0:?}")]
    Status(String),
    /// The answer is not HTTP, or has no end.
    #[error("does not speak HTTP/1.1")]
    Protocol,
}

/// The address of a server and of a folder on it; `path` has no slash at its end.
#[derive(Debug, PartialEq)]
pub(super) struct Endpoint {
    host: String,
    port: u16,
    path: String,
}

impl Endpoint {
    /// `None` where `uri` is not a plain `http` address.
    pub(super) fn parse(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix("http://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || !is_plain(authority) || !is_plain(path) {
            return None;
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { host, port, path: path.trim_end_matches('/').to_owned() })
    }

    /// The last part of the path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The body of `file` in the folder.
    pub(super) fn get(&self, file: &str, deadline: Instant) -> Result<Vec<u8>, HttpError> {
        let mut stream = self.connect(deadline)?;
        stream.set_write_timeout(Some(remaining(deadline)?))?;
        let Self { host, port, path } = self;
        let request = format!(
            "GET {path}/{file} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        read_response(&mut stream, deadline)
    }

    fn connect(&self, deadline: Instant) -> Result<TcpStream, HttpError> {
        let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, remaining(deadline)?) {
                Ok(stream) => return Ok(stream),
                Err(error) => last_error = error,
            }
        }
        Err(last_error.into())
    }
}

/// The time left, never zero: a socket takes a timeout of zero for none.
fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A timeout of a socket reads as a resource that is temporarily unavailable.
fn in_plain_words(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::ErrorKind::TimedOut.into();
    }
    error
}

fn read_response(stream: &mut TcpStream, deadline: Instant) -> Result<Vec<u8>, HttpError> {
    let mut response = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        let length = stream.read(&mut chunk).map_err(in_plain_words)?;
        response.extend_from_slice(chunk.get(..length).unwrap_or_default());
        let is_closed = length == 0;
        if let Some(body) = parse_response(&response, is_closed)? {
            return Ok(body);
        }
        if is_closed || response.len() > MAX_RESPONSE_BYTES {
            return Err(HttpError::Protocol);
        }
    }
}

/// The body of an HTTP/1.1 response, `None` while bytes of it are still to come.
fn parse_response(response: &[u8], is_closed: bool) -> Result<Option<Vec<u8>>, HttpError> {
    let Some(head_length) = response.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = response.split_at(head_length + 4);
    let head = String::from_utf8_lossy(head);
    let status_line = head.lines().next().unwrap_or_default();
    if status_line.split(' ').nth(1) != Some("200") {
        return Err(HttpError::Status(status_line.chars().take(80).collect()));
    }
    if header(&head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return parse_chunks(body);
    }
    match header(&head, "content-length") {
        Some(length) => {
            let length: usize = length.parse().map_err(|_| HttpError::Protocol)?;
            Ok(body.get(..length).map(<[u8]>::to_vec))
        }
        None => Ok(is_closed.then(|| body.to_vec())),
    }
}

fn header<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    let (_, value) =
        head.lines().skip(1).filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}

/// Joins the chunks of a chunked body, `None` while the last, empty one is missing.
fn parse_chunks(mut rest: &[u8]) -> Result<Option<Vec<u8>>, HttpError> {
    let mut body = Vec::new();
    while let Some(line_length) = rest.windows(2).position(|window| window == b"\r\n") {
        let (line, after) = rest.split_at(line_length);
        let size = std::str::from_utf8(line).ok().and_then(|line| line.split(';').next()).unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| HttpError::Protocol)?;
        if size == 0 {
            return Ok(Some(body));
        }
        let end = size.checked_add(2).ok_or(HttpError::Protocol)?;
        let (Some(chunk), Some(next)) = (after.get(2..end), after.get(end.saturating_add(2)..)) else {
            return Ok(None);
        };
        body.extend_from_slice(chunk);
        rest = next;
    }
    Ok(None)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::TcpListener;
    use std::thread;

    /// An answer that says how long it is.
    pub(crate) fn with_length(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .into()
    }

    /// An answer in chunks of `size` bytes.
    pub(crate) fn chunked(body: &str, size: usize) -> Vec<u8> {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.as_bytes().chunks(size) {
            answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        answer
    }

    #[test]
    fn an_answer_without_end_is_cut_off() {
        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        endless.resize(MAX_RESPONSE_BYTES + 100_000, b' ');
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || listener.accept().map(|(mut stream, _)| stream.write_all(&endless)));
        let mut stream = TcpStream::connect(address).unwrap();
        let error = read_response(&mut stream, Instant::now() + Duration::from_secs(30)).unwrap_err();
        assert!(matches!(error, HttpError::Protocol), "{error}");
        drop(stream);
        let _ = server.join().unwrap();
    }

    #[test]
    fn addresses_are_taken_apart() {
        let endpoint = |host: &str, port, path: &str| Endpoint { host: host.to_owned(), port, path: path.to_owned() };
        assert_eq!(Endpoint::parse("http://169.254.170.2/v4/ab-1"), Some(endpoint("169.254.170.2", 80, "/v4/ab-1")));
        assert_eq!(Endpoint::parse("http://localhost:8080/v4/"), Some(endpoint("localhost", 8080, "/v4")));
        assert_eq!(Endpoint::parse("http://[fd00:ec2::254]/v4"), Some(endpoint("fd00:ec2::254", 80, "/v4")));
        assert_eq!(Endpoint::parse("http://[::1]:81"), Some(endpoint("::1", 81, "")));
        for wrong in
            ["", "https://x/", "http://", "http:///v4", "http://x:port/", "http://x/a b", "http://x/\r\nEvil: 1"]
        {
            assert_eq!(Endpoint::parse(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes: Vec<u8>, is_closed: bool) {
            let _ = parse_response(&bytes, is_closed);
            let mut chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            chunks.extend_from_slice(&bytes);
            let _ = parse_response(&chunks, is_closed);
        }

        #[test]
        fn a_body_comes_whole_or_not_at_all(body in "[ -~]{0,200}", size in 1usize..50, cut in 0usize..400) {
            for answer in [with_length(&body), chunked(&body, size)] {
                prop_assert_eq!(parse_response(&answer, false).unwrap(), Some(body.clone().into_bytes()));
                if cut < answer.len() && !answer[cut..].iter().all(|byte| b"\r\n".contains(byte)) {
                    prop_assert_eq!(parse_response(&answer[..cut], false).unwrap(), None);
                }
            }
        }
    }
}
