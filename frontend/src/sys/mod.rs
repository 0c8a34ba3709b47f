//! The only unsafe code of the frontend.

pub mod fork;
pub mod lock;
