//! What S3 and the way to it do wrong now and then, on a real server behind a proxy that does it on order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use testkit::faults::{Fault, FaultProxy, Request};
use testkit::s3::{ADMIN, S3Server};

use super::super::{LOOKS_AT_ONCE, S3Store};
use super::{S3Options, object, open, options_of};
use crate::{Condition, Store, StoreError, Version};

/// A proxy that does the faults in turn to the requests that start as given.
struct Proxy {
    proxy: FaultProxy,
    plan: Plan,
}

type Plan = Arc<Mutex<VecDeque<(&'static str, Fault)>>>;

impl Proxy {
    fn before(server: &S3Server) -> Self {
        let plan = Plan::default();
        let ordered = Arc::clone(&plan);
        Self { proxy: FaultProxy::before(server, move |request| next_fault(&ordered, request)), plan }
    }

    fn order(&self, faults: &[(&'static str, Fault)]) {
        self.plan.lock().unwrap().extend(faults);
    }

    fn assert_all_done(&self) {
        let left = self.plan.lock().unwrap();
        assert!(left.is_empty(), "never happened: {left:?}");
    }

    async fn open(&self, location: &str, server: &S3Server) -> Arc<dyn Store> {
        let options = S3Options { endpoint_url: Some(self.proxy.endpoint()), ..options_of(server, ADMIN) };
        open(location, &options).await
    }
}

fn next_fault(plan: &Plan, request: &Request) -> Option<Fault> {
    let mut plan = plan.lock().unwrap();
    let (start, fault) = *plan.front()?;
    let line = format!("{} {}?{}", request.method, request.path, request.query);
    line.starts_with(start).then(|| {
        plan.pop_front();
        fault
    })
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
    assert_eq!(
        store.get_range(&object("key", 300_000, version), 100_000..200_000).await.unwrap(),
        content[100_000..200_000]
    );
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_body_that_always_breaks_off_is_unavailable() {
    let (proxy, store, direct) = faulty("always").await;
    let version = direct.put("key", "0123456789".into()).await.unwrap();
    proxy.order(&[("GET", Fault::BreakOff(4)); 3]);
    let read = store.get_range(&object("key", 10, version), 0..10).await;
    assert!(matches!(&read, Err(StoreError::Unavailable(text)) if text.contains("s3://always/key")), "{read:?}");
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_corrupted_body_is_read_again() {
    let (proxy, store, direct) = faulty("corrupt").await;
    direct.put("key", "0123456789".into()).await.unwrap();
    proxy.order(&[("GET", Fault::Corrupt(1))]);
    assert_eq!(store.get("key").await.unwrap().0, "0123456789");
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_corrupted_range_is_read_again_where_it_is_the_whole_object() {
    let (proxy, store, direct) = faulty("corrupt-range").await;
    let version = direct.put("key", "0123456789".into()).await.unwrap();
    proxy.order(&[("GET", Fault::Corrupt(2)), ("GET", Fault::Corrupt(3))]);
    assert_eq!(store.get_range(&object("key", 10, version), 0..10).await.unwrap(), "0123456789");
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_body_that_is_too_short_is_read_again() {
    let (proxy, store, direct) = faulty("short").await;
    let version = direct.put("key", "0123456789".into()).await.unwrap();
    proxy.order(&[("GET", Fault::Shorten(500)), ("GET", Fault::Shorten(0))]);
    assert_eq!(store.get("key").await.unwrap().0, "0123456789");
    proxy.order(&[("GET", Fault::Shorten(500)), ("GET", Fault::Shorten(0))]);
    assert_eq!(store.get_range(&object("key", 10, version), 2..8).await.unwrap(), "234567");
    proxy.assert_all_done();
}

/// Whoever says that an object has another size than it has: the listing, HEAD, or the answer with its bytes.
#[tokio::test]
async fn a_size_that_is_another_than_was_listed_is_unavailable_after_retries() {
    let (proxy, store, direct) = faulty("sizes").await;
    let version = direct.put("folder/key", bytes::Bytes::from(vec![7; 3_000])).await.unwrap();
    for (percent, size) in [(50, 1_500), (200, 6_000)] {
        proxy.order(&[("GET /sizes", Fault::Resize(percent)), ("HEAD", Fault::Resize(percent))]);
        let listed = store.list("folder").await.unwrap();
        assert_eq!(listed, [object("folder/key", size, version.clone())]);
        assert_eq!(store.head("folder/key").await.unwrap().as_ref(), Some(&listed[0]));
        proxy.assert_all_done();
        for range in [0..10, size - 10..size] {
            let read = store.get_range(&listed[0], range.clone()).await;
            let Err(StoreError::Unavailable(text)) = &read else { panic!("{range:?}: {read:?}") };
            assert!(text.contains("s3://sizes/folder/key") && text.contains("its listing says"), "{text}");
            assert!(text.contains("(tried 3 times)"), "{text}");
        }
    }
    assert_eq!(store.get_range(&object("folder/key", 3_000, version), 2_990..3_000).await.unwrap(), [7; 10][..]);
}

/// Under keys of KMS the ETag of an empty object is not that of nothing, so that each has to be looked at.
#[tokio::test]
async fn objects_that_are_said_to_be_empty_are_looked_at_side_by_side() {
    let server = S3Server::shared();
    server.create_bucket("empty");
    let under_way = Arc::new(Mutex::new((0_usize, 0_usize)));
    let counted = Arc::clone(&under_way);
    let proxy = FaultProxy::before(&server, move |request| {
        if request.range == "bytes=0-0" {
            {
                let (now, most) = &mut *counted.lock().unwrap();
                *now += 1;
                *most = (*most).max(*now);
            }
            std::thread::sleep(Duration::from_millis(50));
            counted.lock().unwrap().0 -= 1;
        }
        None
    });
    let options = S3Options { endpoint_url: Some(proxy.endpoint()), ..options_of(&server, ADMIN) };
    let store = S3Store::connect("empty", "", &options).await.unwrap();
    let mut objects = Vec::new();
    for number in 0..3 * LOOKS_AT_ONCE {
        let key = format!("{number:02}");
        store.put(&key, bytes::Bytes::new()).await.unwrap();
        objects.push(object(&key, 0, Version("of KMS".to_owned())));
    }
    store.check_emptiness(&objects).await.unwrap();
    assert_eq!(proxy.requests().iter().filter(|(request, _)| request.range == "bytes=0-0").count(), objects.len());
    let most = under_way.lock().unwrap().1;
    assert!((2..=LOOKS_AT_ONCE).contains(&most), "{most} at once");
    for key in ["21", "40"] {
        store.put(key, "x".into()).await.unwrap();
    }
    let StoreError::Unavailable(text) = store.check_emptiness(&objects).await.unwrap_err() else { panic!() };
    assert!(text.contains("\"21\" is empty, but that has bytes"), "{text}");
}

/// XML that ends early reads like XML that is complete.
#[tokio::test]
async fn a_listing_that_is_too_short_is_read_again() {
    let (proxy, store, direct) = faulty("short-listing").await;
    for number in 0..20 {
        direct.put(&format!("folder/key-{number:02}"), "x".into()).await.unwrap();
    }
    for thousandths in (50..1_000).step_by(95) {
        proxy.order(&[("GET /short-listing", Fault::Shorten(thousandths))]);
        let listed = store.list("folder").await.unwrap();
        assert_eq!(listed.len(), 20, "after {thousandths} thousandths of a listing");
        proxy.assert_all_done();
    }
}

#[tokio::test]
async fn a_corrupted_upload_is_sent_again() {
    let (proxy, store, direct) = faulty("corrupt-upload").await;
    proxy.order(&[("PUT", Fault::CorruptRequest(1))]);
    store.put("key", "0123456789".into()).await.unwrap();
    assert_eq!(direct.get("key").await.unwrap().0, "0123456789");
    let large = bytes::Bytes::from(vec![9; super::super::upload::MULTIPART_BYTES + 1]);
    proxy.order(&[("PUT /corrupt-upload/large", Fault::CorruptRequest(1))]);
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
    proxy.order(&[("PUT", Fault::Refuse(409, "OperationAborted")); 3]);
    let version = store.put_if("key", "mine".into(), &Condition::Absent).await.unwrap();
    assert_eq!(direct.get("key").await.unwrap(), ("mine".into(), version.clone()));
    // AWS answers so where the object is gone.
    proxy.order(&[("PUT", Fault::Refuse(404, "NoSuchKey"))]);
    let written = store.put_if("key", "again".into(), &Condition::Unchanged(version)).await;
    assert!(matches!(written, Err(StoreError::Conflict(_))), "{written:?}");
    proxy.assert_all_done();
}

#[tokio::test]
async fn a_server_that_slows_down_is_asked_again() {
    let (proxy, store, direct) = faulty("slow-down").await;
    direct.put("key", "content".into()).await.unwrap();
    proxy.order(&[("GET", Fault::Refuse(503, "SlowDown")), ("GET", Fault::Refuse(500, "InternalError"))]);
    assert_eq!(store.get("key").await.unwrap().0, "content");
    proxy.order(&[("GET", Fault::Refuse(503, "SlowDown")); 3]);
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

    proxy.order(&[
        ("PUT /parts/denied", Fault::Refuse(403, "AccessDenied")),
        ("DELETE /parts/denied", Fault::LoseAnswer),
    ]);
    let written = store.put("denied", large).await;
    assert!(matches!(written, Err(StoreError::Denied(_))), "{written:?}");
    assert_eq!(direct.head("denied").await.unwrap(), None);
    proxy.assert_all_done();
}
