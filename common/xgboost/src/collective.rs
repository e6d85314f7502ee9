//! XGBoost's collective: processes that learn one model together, and the tracker that introduces them to each other.
//!
//! The communicator belongs to the thread that joined. Whatever XGBoost is asked on that thread (a matrix, a round) is done by
//! all members together, so all of them must ask for the same, in the same order; other threads work for themselves.
//!
//! What is not tidied up here is left on purpose. A communicator that has failed is never finalized: that connects to the
//! tracker, which may be gone with its machine. So the thread that joined must not end before the process does unless it has
//! left ([`Communicator::leave`]), or XGBoost's destructor tries the same. A tracker that is not ended stays, too.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use serde_json::json;
use xgboost_lib_sys as sys;

use super::error::{XgboostError, c_string, check, copy_string};
use super::feed::no_handle;
use super::log::listen;

/// XGBoost's numbers for types of numbers and for what is made of them.
const F64: i32 = 2;
const I64: i32 = 7;
const MAX: i32 = 0;
const SUM: i32 = 2;
/// Members are sorted by the names of their tasks, so that ranks, and with them the order of sums, are always the same.
const BY_TASK: i32 = 1;

/// Called when XGBoost ends the process.
type LastWords = Box<dyn FnOnce() + Send>;

static LAST_WORDS: Mutex<Option<LastWords>> = Mutex::new(None);

/// Introduces the members to each other.
#[derive(Debug)]
pub struct Tracker {
    handle: NonNull<c_void>,
    port: u16,
}

// SAFETY: a tracker is a heap object with a thread of its own; any thread may wait for it.
unsafe impl Send for Tracker {}

impl Tracker {
    /// A tracker of so many members that listens on an address of this machine; port 0 takes a free one. It gives up when members stay
    /// away for so long.
    ///
    /// # Errors
    /// [`XgboostError::Collective`] where the address or the port cannot be listened on.
    pub fn start(host: &str, port: u16, members: u32, patience: Duration) -> Result<Self, XgboostError> {
        listen();
        let config = c_string(
            &json!({
                "dmlc_communicator": "rabit",
                "host": host,
                "port": port,
                "n_workers": members,
                "sortby": BY_TASK,
                "timeout": patience.as_secs().max(1),
            })
            .to_string(),
        )?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: a NUL-terminated text and a valid place for the handle.
        let return_code = unsafe { sys::XGTrackerCreate(config.as_ptr(), &raw mut handle) };
        check("start the tracker", return_code)?;
        let handle = NonNull::new(handle).ok_or_else(|| no_handle("start the tracker"))?;
        // SAFETY: a live handle and a NUL-terminated text.
        let return_code = unsafe { sys::XGTrackerRun(handle.as_ptr(), c"{}".as_ptr()) };
        check("start the tracker", return_code)?;
        let mut args = std::ptr::null();
        // SAFETY: a live handle and a valid place for the text, which is copied before the next call.
        let return_code = unsafe { sys::XGTrackerWorkerArgs(handle.as_ptr(), &raw mut args) };
        check("start the tracker", return_code)?;
        let args: serde_json::Value = serde_json::from_str(&copy_string(args)).unwrap_or_default();
        let port = args["dmlc_tracker_port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or_else(|| XgboostError::Shape(format!("XGBoost's tracker says no port: {args}")))?;
        Ok(Self { handle, port })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until all members have left, and ends.
    ///
    /// # Errors
    /// [`XgboostError::Collective`] where that takes longer.
    pub fn end(self, patience: Duration) -> Result<(), XgboostError> {
        let config = c_string(&json!({"timeout": patience.as_secs().max(1)}).to_string())?;
        // SAFETY: a live handle and a NUL-terminated text.
        let return_code = unsafe { sys::XGTrackerWaitFor(self.handle.as_ptr(), config.as_ptr()) };
        check("wait for the tracker", return_code)?;
        // SAFETY: a live handle, which is used no more.
        let return_code = unsafe { sys::XGTrackerFree(self.handle.as_ptr()) };
        check("end the tracker", return_code)
    }
}

/// How a process becomes a member.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Where the tracker listens.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The rank that this member gets.
    pub rank: u32,
    /// Number of members.
    pub members: u32,
    /// How long a member may be silent while others wait for it, in whole seconds.
    pub patience: Duration,
}

/// What makes this thread a member.
#[derive(Debug)]
pub struct Communicator {
    rank: u32,
    members: u32,
    /// It is bound to its thread.
    _thread: PhantomData<*const ()>,
}

impl Communicator {
    /// Joins, once all members have come. `last_words` are called where XGBoost ends the process, which it does with `exit(-1)` on a
    /// thread of its own when the tracker tells that a member failed; they should end it otherwise.
    ///
    /// # Errors
    /// [`XgboostError::Collective`] where the tracker or other members do not answer.
    pub fn join(membership: &Membership, last_words: impl FnOnce() + Send + 'static) -> Result<Self, XgboostError> {
        listen();
        let config = c_string(
            &json!({
                "dmlc_communicator": "rabit",
                "dmlc_tracker_uri": membership.host,
                "dmlc_tracker_port": membership.port,
                "dmlc_task_id": format!("{:010}", membership.rank),
                // The tracker listens before anybody is told of it.
                "dmlc_retry": 1,
                "dmlc_timeout": membership.patience.as_secs().max(1),
            })
            .to_string(),
        )?;
        set_last_words(Some(Box::new(last_words)));
        // SAFETY: a NUL-terminated text.
        let return_code = unsafe { sys::XGCommunicatorInit(config.as_ptr()) };
        if let Err(error) = check("join the other shards", return_code) {
            set_last_words(None);
            return Err(error);
        }
        // SAFETY: no arguments.
        let rank = unsafe { sys::XGCommunicatorGetRank() };
        // SAFETY: no arguments.
        let members = unsafe { sys::XGCommunicatorGetWorldSize() };
        let (rank, members) = (rank.unsigned_abs(), members.unsigned_abs());
        if (rank, members) != (membership.rank, membership.members) {
            return Err(XgboostError::Collective {
                doing: "join the other shards",
                message: format!("it became {rank} of {members}, not {} of {}", membership.rank, membership.members),
            });
        }
        Ok(Self { rank, members, _thread: PhantomData })
    }

    /// Which member this one is.
    #[must_use]
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// How many there are.
    #[must_use]
    pub fn members(&self) -> u32 {
        self.members
    }

    /// Replaces each number by the largest that a member has in its place. All give as many.
    ///
    /// # Errors
    /// [`XgboostError::Collective`] where a member was lost or is silent.
    pub fn max(&self, values: &mut [i64]) -> Result<(), XgboostError> {
        self.reduce(values.as_mut_ptr().cast(), values.len(), I64, MAX)
    }

    /// Replaces each number by the sum over the members. All give as many.
    ///
    /// # Errors
    /// As [`Communicator::max`].
    pub fn sum(&self, values: &mut [f64]) -> Result<(), XgboostError> {
        self.reduce(values.as_mut_ptr().cast(), values.len(), F64, SUM)
    }

    /// Replaces the bytes by those of a member. All give as many.
    ///
    /// # Errors
    /// As [`Communicator::max`].
    pub fn broadcast(&self, bytes: &mut [u8], from: u32) -> Result<(), XgboostError> {
        listen();
        if bytes.is_empty() {
            return Ok(());
        }
        let from = i32::try_from(from).unwrap_or(i32::MAX);
        // SAFETY: as many bytes as the length says, exclusively borrowed for the time of the call.
        let return_code = unsafe { sys::XGCommunicatorBroadcast(bytes.as_mut_ptr().cast(), bytes.len(), from) };
        check("hear from another shard", return_code)
    }

    /// Leaves, once all members do.
    ///
    /// # Errors
    /// As [`Communicator::max`].
    pub fn leave(self) -> Result<(), XgboostError> {
        listen();
        // SAFETY: no arguments.
        let return_code = unsafe { sys::XGCommunicatorFinalize() };
        set_last_words(None);
        check("leave the other shards", return_code)
    }

    fn reduce(&self, values: *mut c_void, count: usize, kind: i32, operation: i32) -> Result<(), XgboostError> {
        listen();
        if count == 0 {
            return Ok(());
        }
        // SAFETY: as many numbers of this type as the count says, exclusively borrowed by the caller for the time of the call.
        let return_code = unsafe { sys::XGCommunicatorAllreduce(values, count, kind, operation) };
        check("add up with the other shards", return_code)
    }
}

/// What is called where XGBoost ends the process, from now on.
fn set_last_words(words: Option<LastWords>) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: a function of this program, which does not unwind.
        let return_code = unsafe { libc::atexit(say_last_words) };
        if return_code != 0 {
            tracing::debug!("nothing can be registered for the end of the process");
        }
    });
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = words;
}

extern "C" fn say_last_words() {
    let words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(words) = words {
        // A panic must not unwind into C.
        let _ = catch_unwind(AssertUnwindSafe(words));
    }
}
