//! `/etc/passwd` and `/etc/group` as the starter reads them: it asks no name service.

/// The user file.
pub const USERS: &str = "/etc/passwd";
/// The group file.
pub const GROUPS: &str = "/etc/group";

/// The number of an account: the third field of the line with this name.
#[must_use]
pub fn find_id(file: &[u8], name: &str) -> Option<u32> {
    file.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let id = (fields.next()? == name.as_bytes()).then(|| fields.nth(1))??;
        std::str::from_utf8(id).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_field_of_the_line_with_the_name_is_the_number() {
        let file = b"root:x:0:0::/:/bin/sh\nanna:x:x:1\nanna:x:70001:1\nshort:x\n";
        assert_eq!(find_id(file, "root"), Some(0));
        assert_eq!(find_id(file, "anna"), Some(70_001));
        assert_eq!(find_id(file, "short"), None);
        assert_eq!(find_id(file, "none"), None);
    }
}
