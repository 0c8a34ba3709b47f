//! The only unsafe code of the frontend.

pub mod descriptors;
pub mod dispositions;
pub mod fork;
pub mod lock;
pub mod signal;
