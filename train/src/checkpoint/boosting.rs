//! When a booster is written down between two rounds, and how an earlier one is taken up.

use std::time::{Duration, Instant};

use error::Result;
use scoring::CheckedSnapshot;
use xgboost::Booster;

use super::{Checkpoint, seal_bytes, unseal_bytes};

/// Boosters are stored after a quarter of the time boosted so far, but not more often than the first and not more rarely
/// than the second of these: of a long run little is lost, and a short one is not held up.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// And so rarely that writing them down takes no more than one part in so many of the time.
const SHARE: u32 = 20;
/// A round that takes longer is kept in memory when it ends, since a stop could not wait for the next one to end.
const LONG_ROUND: Duration = Duration::from_secs(1);
/// How long the last booster of a run that was stopped may take to be stored.
const TO_STORE: Duration = Duration::from_millis(1_800);

/// The snapshots of one booster.
#[derive(Debug)]
pub struct Snapshots<'a> {
    checkpoint: &'a Checkpoint,
    name: String,
    belongs_to: String,
    is_exact: bool,
    started: Instant,
    round_started: Instant,
    stored: Instant,
    kept: Instant,
    cost: Duration,
}

impl<'a> Snapshots<'a> {
    /// Snapshots called `name`, which belong to `belongs_to`. None are taken or taken up where boosting cannot go on
    /// exactly as it would have.
    #[must_use]
    pub fn new(checkpoint: &'a Checkpoint, name: &str, belongs_to: String, is_exact: bool) -> Self {
        let (name, now) = (name.to_owned(), Instant::now());
        let (started, round_started, stored, kept) = (now, now, now, now);
        Self { checkpoint, name, belongs_to, is_exact, started, round_started, stored, kept, cost: Duration::ZERO }
    }

    /// The booster of an earlier attempt and its rounds, at most `rounds`.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub fn earlier(&self, rounds: u32) -> Result<Option<(Booster, u32)>> {
        let Some(object) = self.checkpoint.earlier(&self.name)?.filter(|_| self.is_exact) else { return Ok(None) };
        let snapshot = match unseal_bytes(&self.belongs_to, &object) {
            Ok(snapshot) => snapshot,
            Err(unusable) => {
                self.checkpoint.warn_of(&self.name, &unusable);
                return Ok(None);
            }
        };
        let snapshot = match CheckedSnapshot::check(snapshot) {
            Ok(snapshot) => snapshot,
            Err(problem) => {
                self.checkpoint.warn_of(&self.name, &problem);
                return Ok(None);
            }
        };
        let read = Booster::unserialize(&snapshot).and_then(|mut booster| booster.rounds().map(|done| (booster, done)));
        match read {
            Ok((booster, done)) if done <= rounds => Ok(Some((booster, done))),
            Ok((_, done)) => {
                self.checkpoint.warn_of(&self.name, &format!("it has {done} rounds, more than {rounds}"));
                Ok(None)
            }
            Err(error) => {
                self.checkpoint.warn_of(&self.name, &error);
                Ok(None)
            }
        }
    }

    /// Tells that a round ended.
    ///
    /// # Errors
    /// What XGBoost refuses.
    pub fn after_round(&mut self, booster: &mut Booster) -> Result<()> {
        if !self.is_exact {
            return Ok(());
        }
        let now = Instant::now();
        let least = SHARE * self.cost;
        if now - self.stored >= interval(now - self.started).max(least) {
            self.stored = now;
            let object = self.written(booster)?;
            self.checkpoint.offer(&self.name, object);
        } else if now - self.round_started >= LONG_ROUND && now - self.kept >= least {
            let object = self.written(booster)?;
            self.checkpoint.keep(&self.name, object);
        }
        self.round_started = Instant::now();
        Ok(())
    }

    /// Stores the booster now, since the run is to stop.
    ///
    /// # Errors
    /// What XGBoost refuses.
    pub fn stop(&mut self, booster: &mut Booster) -> Result<()> {
        if self.is_exact {
            let object = self.written(booster)?;
            self.checkpoint.keep(&self.name, object);
            self.checkpoint.store_within(TO_STORE);
        }
        Ok(())
    }

    /// Stores the booster soon if there is work in it that no snapshot has and that is worth one: what follows may take long.
    ///
    /// # Errors
    /// What XGBoost refuses.
    pub fn end(&mut self, booster: &mut Booster) -> Result<()> {
        if self.is_exact && self.stored.elapsed() >= LONG_ROUND.max(SHARE * self.cost) {
            let object = self.written(booster)?;
            self.checkpoint.offer(&self.name, object);
        }
        Ok(())
    }

    fn written(&mut self, booster: &mut Booster) -> Result<Vec<u8>> {
        let started = Instant::now();
        let object = seal_bytes(&self.belongs_to, &booster.serialize()?)?;
        self.kept = Instant::now();
        self.cost = self.kept - started;
        Ok(object)
    }
}

/// How long after the last snapshot the next one is due.
fn interval(boosted: Duration) -> Duration {
    (boosted / 4).clamp(INTERVAL.0, INTERVAL.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_become_rarer_up_to_half_a_minute() {
        let after = |seconds| interval(Duration::from_secs_f64(seconds)).as_secs_f64();
        assert_eq!([0.0, 1.0, 4.0, 60.0, 3_600.0].map(after), [0.5, 0.5, 1.0, 15.0, 30.0]);
    }
}
