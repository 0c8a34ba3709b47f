//! Names in `limit container owners` and `groups`. They stand for what `/etc/passwd` and `/etc/group` say: a name
//! service would run its libraries as root.

/// The number of an account in the text of `/etc/passwd` or `/etc/group`: the third field of the first line with
/// this name.
#[must_use]
pub fn account_id(accounts: &[u8], name: &str) -> Option<u32> {
    accounts.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let id = (fields.next()? == name.as_bytes()).then(|| fields.nth(1))??;
        std::str::from_utf8(id).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::account_id;

    #[test]
    fn the_third_field_of_the_line_with_the_name_is_the_number() {
        let file = b"root:x:0:0::/:/bin/sh\nanna:x:x:1\nanna:x:70001:1\nshort:x\n";
        assert_eq!(account_id(file, "root"), Some(0));
        assert_eq!(account_id(file, "anna"), Some(70_001));
        assert_eq!(account_id(file, "short"), None);
        assert_eq!(account_id(file, "none"), None);
    }
}
