//! What S3 and the way to it do wrong now and then, before a real server: a proxy that does it on order or by a seeded plan.

mod http;
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

    /// Whether the request's body is an object's bytes.
    #[must_use]
    pub fn writes_an_object(&self) -> bool {
        self.method == "PUT"
    }
}
