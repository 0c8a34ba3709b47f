//! Descriptors in order, frame in the pipe, exec of the starter.
