//! What S3 and the way to it do wrong now and then, before a real server: a proxy that does it on order or by a seeded plan.

mod http;
mod listing;
mod plan;
mod proxy;

use std::time::Duration;

pub use plan::{Kind, SeededPlan};
pub use proxy::FaultProxy;

/// One thing that goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request does not arrive; the answer is a status and an S3 error code.
    Refuse(u16, &'static str),
    /// The request arrives and is done; the answer says that it failed.
    DoAndRefuse(u16, &'static str),
    /// The connection is reset before the request arrives.
    Reset,
    /// The request arrives and is done; the connection is closed without an answer.
    LoseAnswer,
    /// The answer's body ends after so many bytes (or as many as it has), and the connection with it.
    BreakOff(usize),
    /// The answer's body lacks its last bytes, and the answer's head says that this is all: so many thousandths are left.
    Shorten(u16),
    /// Some bytes of the answer's body are others: which ones follows from the number.
    Corrupt(u64),
    /// Some bytes of the request's body are others.
    CorruptRequest(u64),
    /// The answer's head comes at once, its body stands still for a while halfway.
    Stall(Duration),
    /// The answer's body goes on after its end, for ever.
    NeverEnd,
    /// The answer's body comes byte by byte, one after each such time.
    Trickle(Duration),
    /// A condition that does not hold is not kept: the answer says that the object was written.
    IgnoreCondition,
    /// A listing that no server should give, of the prefix that was asked for.
    List(Listing),
    /// A listing, or an answer to HEAD, that says that objects have so many hundredths of their sizes.
    Resize(u16),
}

/// Listings that no server should give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The second page names the token that led to it.
    RepeatsItself,
    /// A new page after every page, all of them empty.
    NeverEnds,
    /// The same two keys on every page.
    GoesRound,
    /// A page for every key, without an end.
    OneByOne,
    /// It goes on, and does not say where.
    BreaksOff,
    /// A key that does not begin with the prefix.
    Astray,
    /// A key twice.
    Twice,
    /// A key is missing between two pages.
    LeavesOut,
}

/// A request, as far as a plan needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// What stands behind `?`.
    pub query: String,
    /// The header `Range`, or nothing.
    pub range: String,
}

impl Request {
    /// Whether the answer's body is an object's bytes.
    #[must_use]
    pub fn reads_an_object(&self) -> bool {
        self.method == "GET" && !self.query.contains("list-type") && self.path.trim_matches('/').contains('/')
    }

    /// Whether it lists objects.
    #[must_use]
    pub fn lists(&self) -> bool {
        self.method == "GET" && self.query.contains("list-type=2")
    }

    /// Whether it completes a multipart upload, which S3 may answer with 200 and an error.
    #[must_use]
    pub fn completes_an_upload(&self) -> bool {
        self.method == "POST" && self.query.contains("uploadId=")
    }

    /// Whether the request's body is an object's bytes.
    #[must_use]
    pub fn writes_an_object(&self) -> bool {
        self.method == "PUT"
    }
}
