//! SIF files, version 01: global header, descriptor table, data objects; read and write.
//!
//! [`table`] reads with every check a hostile file calls for and never trusts a counter it can derive; [`layout`]
//! has the bytes; [`codes`] the numbers; [`create`] makes new files and [`append`]
//! adds objects to old ones.

pub mod codes;
pub mod layout;
pub mod table;
pub mod describe;
mod encode;
mod read;
mod write;

pub use codes::{Arch, DataType, FsType, HashType, MessageFormat, MessageType, PartitionType, SbomFormat};
pub(crate) use read::warn_of_counters;
pub use read::{SifFile, open, read};
pub use table::{Descriptor, Extra, Header, Link, Table};
pub use write::{CreateOptions, Data, NewObject, append, create};
