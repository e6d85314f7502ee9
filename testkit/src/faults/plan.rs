//! Which request meets which fault, from a seed: the same request for the same time meets the same, whatever runs beside it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::{Fault, Listing, Request};
use crate::random::Random;

/// The kinds of faults that a plan may draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 500 InternalError, before or after the request is done.
    InternalError,
    /// 503 SlowDown.
    SlowDown,
    /// Connections that are reset, before or after the request is done.
    Reset,
    /// Bodies that break off.
    BreakOff,
    /// Bodies that are too short for what was asked.
    Shorten,
    /// Bodies that stand still for a moment.
    Stall,
    /// Bodies of objects that are read and written, with other bytes.
    Corrupt,
    /// 200, and an error in the body: what S3 may answer to the completion of an upload, and a proxy to anything.
    ErrorInside,
    /// Bodies that never end.
    NeverEnd,
    /// Bodies that come a byte a second.
    Trickle,
    /// Listings that no server should give.
    Listing,
    /// Sizes of objects that are not theirs, in listings and in answers to HEAD.
    Sizes,
}

impl Kind {
    /// What needs no checksum to be noticed.
    pub const TRANSPORT: [Self; 6] =
        [Self::InternalError, Self::SlowDown, Self::Reset, Self::BreakOff, Self::Shorten, Self::Stall];
    /// What no server should do.
    pub const ODD: [Self; 5] = [Self::ErrorInside, Self::NeverEnd, Self::Trickle, Self::Listing, Self::Sizes];

    /// Whether a request can meet it.
    fn befalls(self, request: &Request) -> bool {
        match self {
            Self::ErrorInside => request.method == "GET" || request.writes_an_object() || request.completes_an_upload(),
            // Of other answers nobody reads the body, if they have one.
            Self::NeverEnd | Self::Trickle => request.method == "GET",
            Self::Listing => request.lists(),
            Self::Sizes => request.lists() || request.method == "HEAD",
            _ => true,
        }
    }
}

/// Shorter than what a client waits for.
const STALL: Duration = Duration::from_millis(150);

/// What is too slow for anything.
const TRICKLE: Duration = Duration::from_secs(1);

/// A plan that follows from its seed.
#[derive(Debug)]
pub struct SeededPlan {
    seed: u64,
    kinds: Vec<Kind>,
    /// Of all requests.
    share: f64,
    /// From this request on, every one meets a fault.
    last: u64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    all: u64,
    same: HashMap<Request, u64>,
}

impl SeededPlan {
    /// A `share` of all requests meets one of `kinds`.
    #[must_use]
    pub fn new(seed: u64, kinds: &[Kind], share: f64) -> Self {
        Self { seed, kinds: kinds.to_vec(), share, last: u64::MAX, seen: Mutex::default() }
    }

    /// The same, and after `requests` requests nothing works any more.
    #[must_use]
    pub fn ending_after(self, requests: u64) -> Self {
        Self { last: requests, ..self }
    }

    /// What happens to a request that comes now: one of the kinds that it can meet.
    ///
    /// # Panics
    /// Where another thread panicked in here.
    pub fn next(&self, request: &Request) -> Option<Fault> {
        let kinds: Vec<Kind> = self.kinds.iter().copied().filter(|kind| kind.befalls(request)).collect();
        let (number, repeated) = {
            let mut seen = self.seen.lock().expect("nobody panics here");
            seen.all += 1;
            let all = seen.all;
            let same = seen.same.entry(without_what_varies(request)).or_default();
            *same += 1;
            (all, *same)
        };
        let mut random = Random::new(self.seed ^ fingerprint(&without_what_varies(request), repeated));
        if kinds.is_empty() || random.share() >= self.share && number <= self.last {
            return None;
        }
        let kind = kinds[random.below(kinds.len() as u64) as usize];
        Some(fault(kind, request, &mut random))
    }
}

fn fault(kind: Kind, request: &Request, random: &mut Random) -> Fault {
    let refuse = |random: &mut Random, status, code| match random.below(2) {
        0 => Fault::Refuse(status, code),
        _ => Fault::DoAndRefuse(status, code),
    };
    match kind {
        Kind::InternalError => refuse(random, 500, "InternalError"),
        Kind::SlowDown => Fault::Refuse(503, "SlowDown"),
        Kind::Reset if random.below(2) == 0 => Fault::Reset,
        Kind::Reset => Fault::LoseAnswer,
        Kind::BreakOff => Fault::BreakOff(random.below(20_000) as usize),
        Kind::Shorten => Fault::Shorten(random.below(1_000) as u16),
        Kind::Stall => Fault::Stall(STALL),
        Kind::Corrupt if request.writes_an_object() => Fault::CorruptRequest(random.bits()),
        Kind::Corrupt if request.reads_an_object() => Fault::Corrupt(random.bits()),
        Kind::Corrupt => Fault::LoseAnswer,
        Kind::ErrorInside => Fault::Refuse(200, "InternalError"),
        Kind::Listing => {
            // Those of one page: the next request may meet nothing.
            let all = [Listing::BreaksOff, Listing::Astray, Listing::Twice];
            Fault::List(all[random.below(all.len() as u64) as usize])
        }
        Kind::NeverEnd => Fault::NeverEnd,
        Kind::Trickle => Fault::Trickle(TRICKLE),
        Kind::Sizes => Fault::Resize([0, 50, 99, 101, 200, 1_000][random.below(6) as usize]),
    }
}

/// The number of a multipart upload is the server's choice.
fn without_what_varies(request: &Request) -> Request {
    let query = request.query.split('&').filter(|pair| !pair.starts_with("uploadId=")).collect::<Vec<_>>().join("&");
    Request { query, ..request.clone() }
}

/// FNV-1a: <http://www.isthe.com/chongo/tech/comp/fnv/>. Not the standard library's hash, which may change.
fn fingerprint(request: &Request, repeated: u64) -> u64 {
    let Request { method, path, query, range } = request;
    let text = format!("{method} {path}?{query} {range} {repeated}");
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_server_should_do_befalls_what_it_can() {
        let request = |method: &str, query: &str| Request {
            method: method.to_owned(),
            path: "/bucket/key".to_owned(),
            query: query.to_owned(),
            range: String::new(),
        };
        let requests = [
            request("GET", ""),
            request("GET", "list-type=2"),
            request("HEAD", ""),
            request("PUT", ""),
            request("POST", "uploadId=7"),
            request("DELETE", ""),
        ];
        let met = |kind: Kind| {
            let plan = SeededPlan::new(1, &[kind], 1.1);
            requests.iter().map(|request| u8::from(plan.next(request).is_some())).collect::<Vec<_>>()
        };
        assert_eq!(
            Kind::ODD.map(met),
            [
                vec![1, 1, 0, 1, 1, 0],
                vec![1, 1, 0, 0, 0, 0],
                vec![1, 1, 0, 0, 0, 0],
                vec![0, 1, 0, 0, 0, 0],
                vec![0, 1, 1, 0, 0, 0],
            ]
        );
    }

    #[test]
    fn the_same_requests_meet_the_same_in_any_order() {
        let request = |key: u64| Request {
            method: "GET".to_owned(),
            path: format!("/bucket/{key}"),
            query: String::new(),
            range: String::new(),
        };
        let faults = |keys: &mut dyn Iterator<Item = u64>| {
            let plan = SeededPlan::new(7, &Kind::TRANSPORT, 0.5);
            let mut faults: Vec<_> = keys.map(|key| (key, format!("{:?}", plan.next(&request(key))))).collect();
            faults.sort();
            faults
        };
        let upwards = faults(&mut (0..50).chain(0..50));
        assert_eq!(upwards, faults(&mut (0..50).rev().chain(0..50)));
        let none = upwards.iter().filter(|(_, fault)| fault == "None").count();
        assert!((30..70).contains(&none), "{none} of 100");
    }
}
