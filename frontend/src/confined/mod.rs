//! Hostile bytes and helper programs, each in a process that can reach only what it needs.
//!
//! [`reader`] runs a parser of ours over an image file in a forked child that can read that one descriptor, write
//! its answer and nothing else. [`helper`] starts the outside programs that make file systems.

pub mod reader;
pub mod helper;
mod codec;
pub(crate) mod domain;
