//! What a user who wants more than the site allows can try against the installed starter, without the frontend.

mod descriptors;
mod frames;
mod process_state;
