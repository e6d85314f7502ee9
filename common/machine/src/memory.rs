//! What of the memory is promised to whom, where how much something takes shows only when it is read.
//!
//! A plan counts what footers and sizes tell before a row is read. What they do not tell, or tell wrongly, is counted as it comes: who
//! takes memory for what a file holds has a [`Reservation`], grows it before it takes more, and gives it back with the guard. Where
//! there is no room the run ends with exit 8 that names the largest of all, before the system ends it without a word.
//! The manner is that of `memory_pool` of Apache DataFusion; there is one pool, for a process has one memory.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use error::{Error, Result};

const MIB: u64 = 1 << 20;

/// Memory that is handed out to those who read.
#[derive(Debug)]
pub struct Pool {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What may be handed out in all, and what the process may use.
    room: u64,
    limit: u64,
    held: BTreeMap<Arc<str>, u64>,
}

impl Pool {
    const fn without_limit() -> Self {
        Self { state: Mutex::new(State { room: u64::MAX, limit: u64::MAX, held: BTreeMap::new() }) }
    }

    /// From now on so many bytes may be handed out, of a process that may use `limit`. What is held already stays.
    pub fn set_room(&self, room: u64, limit: u64) {
        let mut state = self.state();
        (state.room, state.limit) = (room, limit);
    }

    /// What the process may use.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.state().limit
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, consumer: &Arc<str>, bytes: u64) -> Result<()> {
        let mut state = self.state();
        let all: u64 = state.held.values().sum();
        if all.saturating_add(bytes) > state.room {
            return Err(state.no_room(consumer, bytes, all));
        }
        *state.held.entry(Arc::clone(consumer)).or_default() += bytes;
        Ok(())
    }

    fn give_back(&self, consumer: &Arc<str>, bytes: u64) {
        let mut state = self.state();
        if let Some(held) = state.held.get_mut(consumer) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                state.held.remove(consumer);
            }
        }
    }
}

impl State {
    fn no_room(&self, consumer: &str, bytes: u64, all: u64) -> Error {
        let (mib, needed) = (|bytes: u64| bytes.div_ceil(MIB), all.saturating_add(bytes));
        let largest = self.held.iter().max_by_key(|(_, held)| **held);
        let so_far = largest.map_or_else(String::new, |(largest, held)| {
            format!(": what was read so far takes {} MiB, {} MiB of it {largest}", mib(all), mib(*held))
        });
        // Nine tenths of a limit are planned with.
        let enough = self.limit.saturating_add(needed.saturating_sub(self.room).saturating_mul(10) / 9);
        Error::Resources(format!(
            "{consumer}: there is no room in memory for {} MiB more{so_far}. Of {} MiB in all {} MiB are left for what is read: {}",
            mib(bytes),
            mib(self.limit),
            self.room / MIB,
            remedy(enough, ", or leave out what takes most")
        ))
    }
}

/// The pool of the process. Without a limit until a program has a plan.
#[must_use]
pub fn pool() -> &'static Arc<Pool> {
    static POOL: LazyLock<Arc<Pool>> = LazyLock::new(|| Arc::new(Pool::without_limit()));
    &POOL
}

/// More than any machine has: who says that it takes this, lies or is damaged.
const NOBODY_HAS: u64 = 16 << 40;

/// What to do where a task needs so many bytes, or else what `otherwise` says; where nobody has as many, what to make of it.
#[must_use]
pub fn remedy(needed: u64, otherwise: &str) -> String {
    if needed > NOBODY_HAS {
        return "no machine has as much: the input only says that it holds it, and is likely damaged or made to deceive; check it, and \
                write it again"
            .to_owned();
    }
    format!("give the task at least {} MiB{otherwise}", needed.div_ceil(MIB))
}

/// What JSON takes in memory once it is parsed, at most, told from its bytes before: a map of one entry takes most.
#[must_use]
pub fn parsed_bytes(json: &[u8]) -> u64 {
    const VALUE: u64 = 80;
    const LIST: u64 = 64;
    const MAP: u64 = 700;
    let of_byte = |byte: &u8| match byte {
        b',' => VALUE,
        b'[' => LIST,
        b'{' => MAP,
        _ => 0,
    };
    2 * json.len() as u64 + json.iter().map(of_byte).sum::<u64>()
}

/// Memory that somebody holds; given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    pool: Arc<Pool>,
    consumer: Arc<str>,
    bytes: u64,
}

impl Reservation {
    /// Nothing yet, for `consumer`, who is named in errors: "column \"town\"".
    #[must_use]
    pub fn new(consumer: &str) -> Self {
        Self::of(Arc::clone(pool()), consumer)
    }

    fn of(pool: Arc<Pool>, consumer: &str) -> Self {
        Self { pool, consumer: consumer.into(), bytes: 0 }
    }

    /// Bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds so many bytes from now on.
    ///
    /// # Errors
    /// [`Error::Resources`] where there is no room for more; what was held stays held.
    pub fn resize(&mut self, bytes: u64) -> Result<()> {
        if bytes > self.bytes {
            self.pool.take(&self.consumer, bytes - self.bytes)?;
        } else {
            self.pool.give_back(&self.consumer, self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Holds so many bytes more.
    ///
    /// # Errors
    /// As [`Reservation::resize`].
    pub fn grow(&mut self, bytes: u64) -> Result<()> {
        self.resize(self.bytes.saturating_add(bytes))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pool.give_back(&self.consumer, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_json_takes_no_more_than_its_bytes_tell() {
        assert!(parsed_bytes(b"{}") < 1_000);
        assert!(parsed_bytes("[1,1,1,1]".repeat(100).as_bytes()) > 100 * 5 * 32);
        assert!(parsed_bytes("{\"a\":1},".repeat(100).as_bytes()) > 100 * 640);
    }

    #[test]
    fn what_is_held_counts_until_it_is_dropped() {
        let pool = Arc::new(Pool::without_limit());
        pool.set_room(100 * MIB, 200 * MIB);
        let of = |name: &str| Reservation::of(Arc::clone(&pool), name);
        let (mut town, mut name) = (of("column \"town\""), of("column \"name\""));
        town.grow(60 * MIB).unwrap();
        name.grow(30 * MIB).unwrap();
        let refused = name.grow(20 * MIB).unwrap_err();
        assert_eq!(refused.exit_code(), 8);
        let text = refused.to_string();
        assert!(text.starts_with("column \"name\": there is no room in memory for 20 MiB more: what was"), "{text}");
        assert!(text.contains("so far takes 90 MiB, 60 MiB of it column \"town\". Of 200 MiB in all 100"), "{text}");
        assert!(text.contains("at least 212 MiB, or leave out") && !text.contains('\n'), "{text}");
        assert_eq!(name.bytes(), 30 * MIB);
        town.resize(10 * MIB).unwrap();
        name.grow(20 * MIB).unwrap();
        drop(town);
        name.resize(100 * MIB).unwrap();
        drop(name);
        of("all").grow(100 * MIB).unwrap();
        assert!(pool.state().held.is_empty());
        let claimed = of("more").grow(u64::MAX / 2).unwrap_err().to_string();
        assert!(claimed.contains("no machine has as much") && !claimed.contains("give the task"), "{claimed}");
    }
}
