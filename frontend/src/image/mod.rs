//! What an image is, told by its content: one file per format.
