//! Damage that once did worse than it should.

use super::{read, tables};
