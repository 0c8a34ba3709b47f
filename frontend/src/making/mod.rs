//! What the commands that write files share: nothing half-written stays, whatever ends the command.

pub mod interrupts;
pub mod progress;
pub mod staging;

pub use interrupts::Interrupts;
pub use progress::{Progress, amount};
pub use staging::Staging;
