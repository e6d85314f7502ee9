//! What S3 and the way to it do wrong now and then, on a real server: a proxy in front of it that does it on order.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use testkit::s3::{ADMIN, S3Server};

use super::{S3Options, open, options_of};
use crate::storage::{Condition, Store, StoreError};

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The body ends after so many bytes, and the connection with it.
    BreakOff(usize),
    /// The first byte of the body is another.
    Corrupt,
    /// The request arrives, the answer does not.
    LoseAnswer,
    /// The first byte of the request's body is another.
    CorruptRequest,
    /// The request does not arrive; this is the answer.
    Answer(&'static str),
}

/// Passes requests on one by one; the faults are done in turn to those that start as given.
struct Proxy {
    endpoint: String,
    plan: Plan,
}

type Plan = Arc<Mutex<VecDeque<(&'static str, Fault)>>>;

impl Proxy {
    fn before(server: &S3Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let upstream = server.endpoint().trim_start_matches("http://").to_owned();
        let plan = Plan::default();
        let shared = Arc::clone(&plan);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (upstream, plan) = (upstream.clone(), Arc::clone(&shared));
                // An error is a connection that ended, which is what is wanted or will be seen by the test.
                thread::spawn(move || serve(connection, &upstream, &plan));
            }
        });
        Self { endpoint, plan }
    }

    fn order(&self, faults: &[(&'static str, Fault)]) {
        self.plan.lock().unwrap().extend(faults);
    }

    fn assert_all_done(&self) {
        let left = self.plan.lock().unwrap();
        assert!(left.is_empty(), "never happened: {left:?}");
    }

    async fn open(&self, location: &str, server: &S3Server) -> Arc<dyn Store> {
        let options = S3Options { endpoint_url: Some(self.endpoint.clone()), ..options_of(server, ADMIN) };
        open(location, &options).await
    }
}

fn serve(mut client: TcpStream, upstream: &str, plan: &Plan) -> io::Result<()> {
    while let Some((head, mut body)) = read_message(&mut client, true)? {
        let fault = next_fault(plan, &head);
        if let Some(Fault::Answer(answer)) = fault {
            client.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
            continue;
        }
        if matches!(fault, Some(Fault::CorruptRequest)) {
            body[0] ^= 1;
        }
        let mut server = TcpStream::connect(upstream)?;
        server.write_all(&head)?;
        server.write_all(&body)?;
        let has_body = !head.starts_with(b"HEAD ");
        let Some((head, mut body)) = read_message(&mut server, has_body)? else {
            return Ok(());
        };
        match fault {
            Some(Fault::LoseAnswer) => return Ok(()),
            Some(Fault::Corrupt) => body[0] ^= 1,
            Some(Fault::BreakOff(after)) => {
                client.write_all(&head)?;
                return client.write_all(&body[..after]);
            }
            _ => {}
        }
        client.write_all(&head)?;
        client.write_all(&body)?;
    }
    Ok(())
}

fn next_fault(plan: &Plan, head: &[u8]) -> Option<Fault> {
    let mut plan = plan.lock().unwrap();
    let (start, fault) = *plan.front()?;
    head.starts_with(start.as_bytes()).then(|| {
        plan.pop_front();
        fault
    })
}

/// Head and body of a request or an answer; `None` where the connection has ended.
fn read_message(connection: &mut TcpStream, has_body: bool) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if connection.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.filter(|_| has_body).map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

async fn faulty(bucket: &str) -> (Proxy, Arc<dyn Store>, Arc<dyn Store>) {
    let server = S3Server::shared();
    server.create_bucket(bucket);
    let proxy = Proxy::before(&server);
    let location = format!("s3://{bucket}");
    let (through, direct) = (proxy.open(&location, &server).await, open(&location, &options_of(&server, ADMIN)).await);
    (proxy, through, direct)
}

#[tokio::test]
async fn a_body_that_breaks_off_is_read_again() {
    let (proxy, store, direct) = faulty("break-off").await;
    let content = bytes::Bytes::from(vec![7; 300_000]);
    let version = direct.put("key", content.clone()).await.unwrap();
    proxy.order(&[("GET", Fault::BreakOff(0)), ("GET", Fault::BreakOff(299_999))]);
    assert_eq!(store.get("key").await.unwrap(), (content.clone(), version.clone()));
    proxy.order(&[("GET", Fault::BreakOff(0)), ("GET", Fault::BreakOff(99_999))]);
    assert_eq!(store.get_range("key", 100_000..200_000, &version).await.unwrap(), content[100_000..200_000]);
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_body_that_always_breaks_off_is_unavailable() {
    let (proxy, store, direct) = faulty("always").await;
    let version = direct.put("key", "0123456789".into()).await.unwrap();
    proxy.order(&[("GET", Fault::BreakOff(4)); 3]);
    let read = store.get_range("key", 0..10, &version).await;
    assert!(matches!(&read, Err(StoreError::Unavailable(text)) if text.contains("s3://always/key")), "{read:?}");
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_corrupted_body_is_read_again() {
    let (proxy, store, direct) = faulty("corrupt").await;
    direct.put("key", "0123456789".into()).await.unwrap();
    proxy.order(&[("GET", Fault::Corrupt)]);
    assert_eq!(store.get("key").await.unwrap().0, "0123456789");
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_corrupted_upload_is_sent_again() {
    let (proxy, store, direct) = faulty("corrupt-upload").await;
    proxy.order(&[("PUT", Fault::CorruptRequest)]);
    store.put("key", "0123456789".into()).await.unwrap();
    assert_eq!(direct.get("key").await.unwrap().0, "0123456789");
    let large = bytes::Bytes::from(vec![9; super::super::upload::MULTIPART_BYTES + 1]);
    proxy.order(&[("PUT /corrupt-upload/large", Fault::CorruptRequest)]);
    store.put("large", large.clone()).await.unwrap();
    assert!(direct.get("large").await.unwrap().0 == large, "the content is another");
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_conditional_write_whose_answer_was_lost_is_done() {
    let (proxy, store, direct) = faulty("lost-answer").await;
    proxy.order(&[("PUT", Fault::LoseAnswer)]);
    let created = store.put_if("key", "first".into(), &Condition::Absent).await.unwrap();
    assert_eq!(direct.get("key").await.unwrap(), ("first".into(), created.clone()));
    proxy.order(&[("PUT", Fault::LoseAnswer)]);
    let moved = store.put_if("key", "second".into(), &Condition::Unchanged(created)).await.unwrap();
    assert_eq!(direct.get("key").await.unwrap(), ("second".into(), moved));
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_lost_answer_does_not_hide_that_somebody_else_was_first() {
    let (proxy, store, direct) = faulty("lost-race").await;
    direct.put("key", "of another".into()).await.unwrap();
    proxy.order(&[("PUT", Fault::LoseAnswer)]);
    let written = store.put_if("key", "mine".into(), &Condition::Absent).await;
    assert!(matches!(written, Err(StoreError::Conflict(_))), "{written:?}");
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_conditional_write_waits_for_another_under_way() {
    let (proxy, store, direct) = faulty("in-progress").await;
    proxy.order(&[("PUT", Fault::Answer("409 Conflict")); 3]);
    let version = store.put_if("key", "mine".into(), &Condition::Absent).await.unwrap();
    assert_eq!(direct.get("key").await.unwrap(), ("mine".into(), version.clone()));
    // AWS answers so where the object is gone.
    proxy.order(&[("PUT", Fault::Answer("404 Not Found"))]);
    let written = store.put_if("key", "again".into(), &Condition::Unchanged(version)).await;
    assert!(matches!(written, Err(StoreError::Conflict(_))), "{written:?}");
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_server_that_slows_down_is_asked_again() {
    let (proxy, store, direct) = faulty("slow-down").await;
    direct.put("key", "content".into()).await.unwrap();
    proxy.order(&[("GET", Fault::Answer("503 Slow Down")), ("GET", Fault::Answer("500 Internal Server Error"))]);
    assert_eq!(store.get("key").await.unwrap().0, "content");
    proxy.order(&[("GET", Fault::Answer("503 Slow Down")); 3]);
    let read = store.get("key").await;
    assert!(matches!(&read, Err(StoreError::Unavailable(text)) if text.contains("503")), "{read:?}");
    proxy.assert_all_done();
}

#[tokio::test]
async fn an_upload_in_parts_that_fails_is_aborted_and_one_whose_completion_is_lost_is_done() {
    let (proxy, store, direct) = faulty("parts").await;
    let large = bytes::Bytes::from(vec![3; super::super::upload::MULTIPART_BYTES + 1]);
    proxy.order(&[("POST /parts/large?uploadId", Fault::LoseAnswer)]);
    store.put("large", large.clone()).await.unwrap();
    assert!(direct.get("large").await.unwrap().0 == large, "the content is another");
    proxy.assert_all_done();

    proxy.order(&[("PUT /parts/denied", Fault::Answer("403 Forbidden")), ("DELETE /parts/denied", Fault::LoseAnswer)]);
    let written = store.put("denied", large).await;
    assert!(matches!(written, Err(StoreError::Denied(_))), "{written:?}");
    assert_eq!(direct.head("denied").await.unwrap(), None);
    proxy.assert_all_done();
}
