//! Overlay images: create.
