//! What every finished trial came to, written down in the run's checkpoint: an attempt that goes on takes it from there, to
//! the last bit, and runs only what is not written down.

use std::time::Duration;

use error::Result;
use serde::{Deserialize, Serialize};

use super::trial::{End, FittedMargins, Outcome};
use crate::checkpoint::{Checkpoint, Unusable, seal_bytes, unseal_bytes};

/// A finished trial.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) outcome: Outcome,
    /// How long it took.
    pub(super) seconds: f64,
    /// What the search had spent of its time when it ended.
    pub(super) clock: Duration,
}

/// The part of an entry that is JSON; its numbers follow as bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    rounds: u32,
    /// Rounds of the margins of the second half, where there are such.
    fitted: Option<u32>,
    metric: Option<String>,
    end: End,
    seconds: f64,
    clock: Duration,
    /// Numbers of the learning curve; the margins are all that follows it.
    curve: usize,
    /// Those of the columns, as many as there are.
    gains: Vec<f32>,
}

/// The entries of a run, by the places of their trials in the search.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    checkpoint: &'a Checkpoint,
    /// Nothing more is expected of an earlier attempt.
    has_ended: bool,
}

impl<'a> Journal<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, has_ended: false }
    }

    /// What an earlier attempt wrote down of the trial at `place`, if it was the same trial.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub(super) fn earlier(&mut self, place: usize, belongs_to: &str) -> Result<Option<Entry>> {
        if self.has_ended {
            return Ok(None);
        }
        let Some(object) = self.checkpoint.earlier(&name(place))? else {
            if place > 0 && self.checkpoint.is_continued() {
                tracing::info!("{place} trials were done before");
            }
            self.has_ended = true;
            return Ok(None);
        };
        match unseal_bytes(belongs_to, &object).and_then(|content| Entry::read(content).ok_or_else(damaged)) {
            Ok(entry) => Ok(Some(entry)),
            Err(unusable) => {
                self.checkpoint.warn_of(&name(place), &unusable);
                Ok(None)
            }
        }
    }

    /// Writes down what a trial came to; it is stored soon, while the search goes on.
    ///
    /// # Errors
    /// [`error::Error::Defect`] for what cannot be written.
    pub(super) fn write(&self, place: usize, belongs_to: &str, entry: &Entry) -> Result<()> {
        self.checkpoint.offer(&name(place), seal_bytes(belongs_to, &entry.written())?);
        Ok(())
    }
}

fn name(place: usize) -> String {
    format!("trial-{place:05}")
}

fn damaged() -> Unusable {
    Unusable::Damaged("it is no trial".to_owned())
}

impl Entry {
    fn written(&self) -> Vec<u8> {
        let Outcome { rounds, value, curve, metric, end, margins, fitted, gains } = &self.outcome;
        let head = Head {
            rounds: *rounds,
            fitted: fitted.as_ref().map(|fitted| fitted.rounds),
            metric: metric.clone(),
            end: *end,
            seconds: self.seconds,
            clock: self.clock,
            curve: curve.len(),
            gains: gains.clone(),
        };
        // Of these fields none can fail to be JSON; an entry without its head is one that cannot be read.
        let mut bytes = serde_json::to_vec(&head).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend(value.to_le_bytes());
        curve.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        let fitted = fitted.iter().flat_map(|fitted| &fitted.margins);
        margins.iter().chain(fitted).for_each(|margin| bytes.extend(margin.to_le_bytes()));
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let at = bytes.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&bytes[..at]).ok()?;
        let (doubles, margins) = bytes[at + 1..].split_at_checked(8 * head.curve.checked_add(1)?)?;
        let (doubles, _) = doubles.as_chunks::<8>();
        let (margins, rest) = margins.as_chunks::<4>();
        let (value, curve) = doubles.split_first()?;
        let mut margins: Vec<f32> = margins.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let fitted = head.fitted.map(|rounds| FittedMargins { rounds, margins: margins.split_off(margins.len() / 2) });
        let outcome = Outcome {
            rounds: head.rounds,
            value: f64::from_le_bytes(*value),
            curve: curve.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
            metric: head.metric,
            end: head.end,
            margins,
            fitted,
            gains: head.gains,
        };
        rest.is_empty().then_some(Self { outcome, seconds: head.seconds, clock: head.clock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_to_the_last_bit() {
        let outcome = Outcome {
            rounds: 7,
            value: f64::INFINITY,
            curve: vec![0.1 + 0.2, 1e-300, f64::MAX],
            metric: Some("rmse".to_owned()),
            end: End::Behind,
            margins: vec![1.0 / 3.0, f32::MIN_POSITIVE, -0.0],
            fitted: Some(FittedMargins { rounds: 8, margins: vec![0.5, -f32::MIN_POSITIVE, 3.0] }),
            gains: vec![1.0 / 3.0, f32::MAX, 0.0],
        };
        let entry = Entry { outcome, seconds: 1.0 / 3.0, clock: Duration::from_nanos(1_234_567_891) };
        let written = entry.written();
        let read = Entry::read(&written).unwrap();
        assert_eq!(read.written(), written);
        assert_eq!(read, entry);
        for length in 0..written.len() {
            let is_whole_number = |entry: Entry| entry.outcome.margins.len() < 3;
            assert!(Entry::read(&written[..length]).is_none_or(is_whole_number), "cut off after {length} bytes");
        }
        let nothing = Entry { outcome: Outcome::new(), ..entry };
        assert_eq!(Entry::read(&nothing.written()), Some(nothing));
    }
}
