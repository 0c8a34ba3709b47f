//! What was typed: every command and flag, once.
