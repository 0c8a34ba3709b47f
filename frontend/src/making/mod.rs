//! What the commands that write files share: nothing half-written stays, whatever ends the command.

pub mod interrupts;
pub mod progress;
pub mod staging;
mod temporary;

pub use interrupts::Interrupts;
pub use progress::{Progress, amount};
pub use staging::Staging;
pub use temporary::{temporary_directory, use_temporary_directory};
