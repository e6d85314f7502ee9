//! The proxy: every connection a thread, every request read whole, met by its fault, and answered.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::http::Message;
use super::{Fault, Request, listing};
use crate::random::Random;
use crate::s3::S3Server;

/// A server that is asked through the proxy does not take longer.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(60);

type Decide = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

/// A proxy in front of an S3 server. It ends when this is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    done: Done,
}

/// What was done to which request.
type Done = Arc<Mutex<Vec<(Request, Option<Fault>)>>>;

impl FaultProxy {
    /// Starts a proxy that asks `decide` about every request, which may do something besides.
    ///
    /// # Panics
    /// Where there is no free port.
    #[must_use]
    pub fn before(server: &S3Server, decide: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a port");
        let (ended, done) = (Arc::new(AtomicBool::new(false)), Done::default());
        let decide: Arc<Decide> = Arc::new(decide);
        let way = Way {
            upstream: server.endpoint().trim_start_matches("http://").to_owned(),
            decide,
            done: Arc::clone(&done),
        };
        let is_over = Arc::clone(&ended);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let way = way.clone();
                // An error is a connection that ended, which is what was wanted or will be seen by the test.
                thread::spawn(move || way.serve(&connection));
            }
        });
        Self { address, ended, done }
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request that came, with the fault that it met.
    ///
    /// # Panics
    /// Where a thread of the proxy panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<(Request, Option<Fault>)> {
        self.done.lock().expect("nobody panics here").clone()
    }

    /// The faults that were done, one a line, for messages.
    #[must_use]
    pub fn story(&self) -> String {
        let line = |(request, fault): &(Request, Option<Fault>)| {
            let Request { method, path, query, range } = request;
            fault.map(|fault| format!("  {method} {path}?{query} {range}: {fault:?}\n"))
        };
        self.requests().iter().filter_map(line).collect()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

/// From a client to the server and back.
#[derive(Clone)]
struct Way {
    upstream: String,
    decide: Arc<Decide>,
    done: Done,
}

impl Way {
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut reader = BufReader::new(client.try_clone()?);
        while let Some(mut message) = Message::read_head(&mut reader)? {
            let request = message.request();
            let fault = (self.decide)(&request);
            self.done.lock().expect("nobody panics here").push((request.clone(), fault));
            if fault == Some(Fault::Reset) {
                // Closed without the usual farewell.
                return SockRef::from(client).set_linger(Some(Duration::ZERO));
            }
            message.read_body(&mut reader)?;
            if !self.answer(client, &request, message, fault)? {
                return client.shutdown(Shutdown::Both);
            }
        }
        Ok(())
    }

    /// Whether the connection goes on.
    fn answer(
        &self,
        mut client: &TcpStream,
        request: &Request,
        mut message: Message,
        fault: Option<Fault>,
    ) -> io::Result<bool> {
        let to_head = request.method == "HEAD";
        match fault {
            Some(Fault::Refuse(status, code)) => return send(client, &Message::refusal(status, code, to_head)),
            Some(Fault::List(listing)) => return send(client, &listing::answer(listing, request)),
            Some(Fault::CorruptRequest(seed)) => corrupt(&mut message.body, seed),
            _ => {}
        }
        let mut answer = self.forward(&message, to_head)?;
        match fault {
            Some(Fault::DoAndRefuse(status, code)) => return send(client, &Message::refusal(status, code, to_head)),
            Some(Fault::LoseAnswer) => return Ok(false),
            Some(Fault::BreakOff(after)) => {
                client.write_all(&answer_head(&answer, to_head))?;
                client.write_all(&answer.body[..after.min(answer.body.len().saturating_sub(1))])?;
                return Ok(false);
            }
            Some(Fault::Shorten(thousandths)) => {
                let left = answer.body.len() * usize::from(thousandths) / 1_000;
                answer.body.truncate(left);
            }
            Some(Fault::Corrupt(seed)) => corrupt(&mut answer.body, seed),
            Some(Fault::Resize(percent)) if to_head => answer.resize(percent),
            Some(Fault::Resize(percent)) => listing::resized(&mut answer, percent),
            Some(Fault::NeverEnd) => return never_end(client, &answer),
            Some(Fault::Trickle(time)) => {
                client.write_all(&answer_head(&answer, to_head))?;
                for byte in &answer.body {
                    thread::sleep(time);
                    client.write_all(&[*byte])?;
                }
                return Ok(true);
            }
            Some(Fault::IgnoreCondition) if answer.start.contains(" 412") => {
                let headers = vec![format!("etag: \"{:032x}\"", 7)];
                return send(client, &Message { start: "HTTP/1.1 200 OK".to_owned(), headers, body: Vec::new() });
            }
            Some(Fault::Stall(time)) => {
                let (first, rest) = answer.body.split_at(answer.body.len() / 2);
                client.write_all(&answer_head(&answer, to_head))?;
                client.write_all(first)?;
                thread::sleep(time);
                client.write_all(rest)?;
                return Ok(true);
            }
            _ => {}
        }
        client.write_all(&answer_head(&answer, to_head))?;
        client.write_all(&answer.body)?;
        Ok(true)
    }

    fn forward(&self, message: &Message, to_head: bool) -> io::Result<Message> {
        let mut server = TcpStream::connect(&self.upstream)?;
        server.set_read_timeout(Some(UPSTREAM_TIMEOUT))?;
        server.write_all(&message.original_head())?;
        server.write_all(&message.body)?;
        let mut reader = BufReader::new(server);
        let answer = Message::read_head(&mut reader)?;
        let mut answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        if !to_head {
            answer.read_body(&mut reader)?;
        }
        Ok(answer)
    }
}

/// The length that an answer to HEAD has is the object's, not the body's.
fn answer_head(answer: &Message, to_head: bool) -> Vec<u8> {
    if to_head { answer.original_head() } else { answer.head() }
}

/// Sends the body in chunks, and then more of it until nobody listens any more.
fn never_end(mut client: &TcpStream, answer: &Message) -> io::Result<bool> {
    let mut head = answer.start.clone();
    for line in &answer.headers {
        if !line.to_ascii_lowercase().starts_with("content-length:")
            && !line.to_ascii_lowercase().starts_with("transfer-")
        {
            head = head + "\r\n" + line;
        }
    }
    client.write_all((head + "\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes())?;
    let filler = vec![b' '; 64 << 10];
    let mut body = answer.body.as_slice();
    loop {
        if !body.is_empty() {
            client.write_all(format!("{:x}\r\n", body.len()).as_bytes())?;
            client.write_all(body)?;
            client.write_all(b"\r\n")?;
        }
        body = &filler;
    }
}

fn send(mut client: &TcpStream, answer: &Message) -> io::Result<bool> {
    client.write_all(&answer.head())?;
    client.write_all(&answer.body)?;
    Ok(true)
}

/// Changes one to four bytes; each of them is another one afterwards.
fn corrupt(body: &mut [u8], seed: u64) {
    let mut random = Random::new(seed);
    let mut places: Vec<u64> = (0..=random.below(4)).map(|_| random.below(body.len() as u64)).collect();
    places.sort_unstable();
    places.dedup();
    for place in places {
        if let Some(byte) = body.get_mut(place as usize) {
            *byte ^= 1 + random.below(255) as u8;
        }
    }
}
