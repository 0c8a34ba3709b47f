//! Inside the container: environment, account files, signals, the user's program.
