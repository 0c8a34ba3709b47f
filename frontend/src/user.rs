//! Who the caller is: numeric ids, names, home.
