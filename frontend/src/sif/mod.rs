//! SIF files, version 01: global header, descriptor table, data objects; read and write.
//!
//! [`table`] reads with every check a hostile file calls for and never trusts a counter it can derive; [`layout`]
//! has the bytes; [`codes`] the numbers; [`open`] reads the table of a file; [`describe`] tells it to people and
//! programs; [`create`] makes new files; [`append`], [`delete`], [`set_primary`], [`edit`](edit())
//! and [`grow`](grow()) change old ones.

pub mod codes;
pub mod layout;
pub mod table;
pub mod describe;
mod change;
mod digest;
mod edit;
mod encode;
mod grow;
mod read;
mod signed;
mod source;
mod write;

pub use change::{Gap, delete, set_primary};
pub use codes::{Arch, DataType, FsType, HashType, MessageFormat, MessageType, PartitionType, SbomFormat};
pub use digest::Digest;
pub use edit::{Edit, Room, edit};
pub use grow::grow;
pub(crate) use read::warn_of_counters;
pub use read::{SifFile, open, read};
pub use source::Source;
pub use table::{Descriptor, Extra, Header, Link, Table, starts_as_sif};
pub use write::{CreateOptions, Data, NewObject, append, create};
