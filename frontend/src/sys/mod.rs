//! The only unsafe code of the frontend.

pub mod attributes;
pub mod child;
pub mod children;
pub mod descriptors;
pub mod fork;
pub mod probe;
pub mod signal;
