//! `/etc/passwd` and `/etc/group` as the starter reads them: it asks no name service.

/// The user file.
pub const USERS: &str = "/etc/passwd";
/// The group file.
pub const GROUPS: &str = "/etc/group";
