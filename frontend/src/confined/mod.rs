//! Hostile bytes and helper programs, each in a process that can reach only what it needs.

pub mod helper;
