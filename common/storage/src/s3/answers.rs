//! Answers that end: how much a body may hold, and how slowly it may come, whoever asked.
//!
//! The SDK reads every answer but an object's bytes to its end before it looks at it, and watches bodies only for standing
//! still. So the connection below it counts.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::{RuntimeComponents, SharedHttpClient};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// What an answer that is no object may hold. A page of 1,000 keys of 1,024 bytes, each of them escaped, has 6 MiB.
const MOST_BYTES: u64 = 16 << 20;
/// How long a body may be waited for, whatever comes, and how much must have come for every second more: a line of 1 Mbit/s
/// that 16 reads share gives each of them twice that.
const GRACE: Duration = Duration::from_secs(10);
const LEAST_BYTES_PER_SECOND: f64 = 4096.0;

/// The client, with bounded answers.
pub(super) fn bounded(client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Bounded(client))
}

#[derive(Debug)]
struct Bounded<Inner>(Inner);

impl HttpClient for Bounded<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Bounded(self.0.http_connector(settings, components)))
    }
}

impl HttpConnector for Bounded<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asks_for_object = request.method() == "GET" && !request.uri().contains("list-type=2");
        let answered = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let answer: HttpResponse = answered.await?;
            // Who reads an object counts what it takes, and knows how much that may be.
            let is_object = asks_for_object && answer.status().is_success();
            let most = if is_object { u64::MAX } else { MOST_BYTES };
            Ok(answer.map(|body| SdkBody::from_body_1_x(BoundedBody::new(body, most))))
        })
    }
}

/// A body that ends, or fails.
struct BoundedBody {
    body: Pin<Box<SdkBody>>,
    most: u64,
    received: u64,
    /// All the time that it was waited for, and since when it is.
    waited: Duration,
    waits_since: Option<Instant>,
}

impl BoundedBody {
    fn new(body: SdkBody, most: u64) -> Self {
        Self { body: Box::pin(body), most, received: 0, waited: Duration::ZERO, waits_since: None }
    }

    /// Why it is not read on.
    fn excess(&self) -> Option<String> {
        let seconds = self.waited.saturating_sub(GRACE).as_secs_f64();
        if self.received > self.most {
            return Some(format!("the answer has more than {} bytes", self.most));
        }
        (self.received as f64 <= seconds * LEAST_BYTES_PER_SECOND && seconds > 0.0).then(|| {
            format!("the answer comes too slowly: {} bytes in {:.0} seconds", self.received, self.waited.as_secs_f64())
        })
    }
}

impl Body for BoundedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Poll::Ready(frame) = Body::poll_frame(self.body.as_mut(), context) else {
            self.waits_since.get_or_insert_with(Instant::now);
            return Poll::Pending;
        };
        if let Some(since) = self.waits_since.take() {
            self.waited += since.elapsed();
        }
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.excess() {
            Some(excess) => Poll::Ready(Some(Err(excess.into()))),
            None => Poll::Ready(Some(Ok(frame))),
        }
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(&*self.body)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&*self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(received: u64, seconds: u64) -> Option<String> {
        let waited = Duration::from_secs(seconds);
        BoundedBody { received, waited, ..BoundedBody::new(SdkBody::empty(), 1 << 20) }.excess()
    }

    #[test]
    fn a_body_may_be_slow_but_not_for_ever() {
        assert_eq!(after(0, 9), None);
        assert!(after(11, 11).unwrap().contains("11 bytes in 11 seconds"));
        assert_eq!(after(400_000, 60), None);
        assert!(after(200_000, 60).is_some());
        assert!(after((1 << 20) + 1, 0).unwrap().contains("more than 1048576 bytes"));
    }
}
