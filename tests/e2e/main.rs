//! End-to-end tests: one file per subject, all in one program.

mod harness;
