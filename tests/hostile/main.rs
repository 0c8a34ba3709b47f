//! What a user who wants more than the site allows can try against the installed starter, without the frontend.

mod after_state;
mod descriptors;
mod frames;
mod mounts;
mod process_state;
mod reach;
