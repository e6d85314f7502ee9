//! The compiled scorer against XGBoost 3.4.1, every bit, on every instruction set that the machine has.

mod exactness;
mod hostile;
mod random;
mod xgb;
