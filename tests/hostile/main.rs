//! What a user who wants more than the site allows can try against the installed starter, without the frontend.
//! `table.rs` says which published weakness and which promise is held by which test.

mod after_state;
mod descriptors;
mod faults;
mod frames;
mod instances;
mod interference;
mod kernel_calls;
mod mounts;
mod outside;
mod process_state;
mod races;
mod reach;
mod stops;
mod table;
