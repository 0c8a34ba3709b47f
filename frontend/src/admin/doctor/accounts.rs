//! The ids that the caller may use beside his own.

use super::Check;
use crate::message::shown;
use crate::user::Caller;

/// Whether the caller has an account, and subordinate ids.
pub(super) fn checks() -> Vec<Check> {
    let caller = match Caller::look_up() {
        Ok(caller) => caller,
        Err(failure) => {
            let remedy = failure.next_step().unwrap_or("give the user an account").to_owned();
            return vec![Check::missing("account", failure.to_string()).remedy(remedy)];
        }
    };
    let uid = caller.uid.to_string();
    let account = Check::ok("account", format!("{} ({uid})", shown(&caller.name)));
    let subordinate = |file: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        subordinate_ids(file, &text, &[&caller.name, &uid])
    };
    vec![account, subordinate("/etc/subuid"), subordinate("/etc/subgid")]
}

fn subordinate_ids(file: &str, text: &str, names: &[&str]) -> Check {
    let ranges: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let first: u32 = fields.next()?.parse().ok()?;
            let count: u32 = fields.next()?.parse().ok()?;
            names.contains(&owner).then(|| format!("{count} from {first}"))
        })
        .collect();
    if ranges.is_empty() {
        Check::ok(file, "the caller has no ids of his own there; this version does not need any")
    } else {
        Check::ok(file, format!("{}; this version does not need them", ranges.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_and_by_number() {
        let text = "anna:100000:65536\n!ben:1:2\n1000:300000:10\nanna:x:1\n# anna:1:1\n";
        let found = |names: &[&str]| subordinate_ids("/etc/subuid", text, names).found;
        assert!(found(&["anna", "1000"]).starts_with("65536 from 100000, 10 from 300000"));
        assert!(found(&["ben", "1001"]).starts_with("the caller has no ids"));
    }
}
