//! What is wanted: the command line and environment, decided.
