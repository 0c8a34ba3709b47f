//! Test harness: users, worlds, runs.
