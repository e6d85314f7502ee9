//! The compiled tree ensemble: XGBoost's predictions, every bit the same, many times faster.
//!
//! 1. *Codes, not values.* A value matters only by its rank among the thresholds that the model compares it with, a
//!    category only by the sets that it is in. [`Scorer::quantise`] writes these codes as bit planes, straight from a
//!    column, 64 rows to a word.
//! 2. *Each condition once.* What a node asks is a Boolean function of a few planes; all distinct ones are computed
//!    for 512 rows at a time by a circuit in which they share what they have in common.
//! 3. *Bit-sliced descent.* The bits of the number of the leaf are chosen among the conditions of a tree's levels, for
//!    512 rows at a time, without a branch.
//! 4. *The same sum.* Leaves are added tree by tree in `f32`, from the base margin on, as XGBoost does.
//!
//! [`Ensemble::from_ubj`] reads a model and checks it; [`Scorer::compile`] compiles it for the best instruction set of
//! the machine; [`Tree::add_leaves`] scores by a tree that is not worth compiling. Begin reading at [`Ensemble`]. Nothing here does I/O, and nothing but the standard library is known: `treelite` and
//! `lleaves` were weighed, which are slower and do not give the same bits.

mod average_models;
mod block;
mod checked;
mod circuit;
mod descend;
mod ensemble;
mod explain;
mod kernels;
mod load;
mod load_tree;
mod object;
mod objective;
mod program;
mod quantiser;
mod rescale;
mod scorer;
mod side_by_side;
mod tree_plan;
mod ubj;

pub use average_models::{ModelPart, average_models};
pub use block::QuantizedBlock;
pub use checked::{CheckedModel, CheckedSnapshot};
pub use descend::DescentScratch;
pub use ensemble::{Ensemble, EnsembleError, FeatureType, Node, Question, Split, Tree};
pub use explain::{ExplainScratch, Explainer, Reason};
pub use kernels::InstructionSet;
pub use objective::Link;
pub use rescale::{power_of_two, rescale};
pub use scorer::{Scorer, Unsupported};
