//! What init is told: argv, environment, cwd, umask, signals.
