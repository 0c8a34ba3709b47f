//! Files that appear whole or not at all, and copies that keep their holes.

mod copy;
mod new;

pub use copy::copy;
pub use new::{Existing, NewFile};
