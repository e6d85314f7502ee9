//! What goes wrong on the way to S3, by a seeded plan: exit 0 means complete and correct; otherwise the exit code says what
//! it was, nothing half-written is visible, and the same run id finishes on a good line.
//!
//!     make faults                          1,000 seeds (CASES=… for another number, SEED=… for the first)
//!     FAULT_SEED=17 cargo test --release --locked -p predict --test line faults::seeded    one seed, with its story

mod case;
mod once;
mod seeded;
