//! The ids that the caller may use beside his own.

use super::Check;
use crate::cgroup;
use crate::message::shown;
use crate::user::Caller;

/// Whether the caller has an account, subordinate ids, and a control group to start containers in.
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
    vec![account, subordinate("/etc/subuid"), subordinate("/etc/subgid"), control_groups(&caller)]
}

fn control_groups(caller: &Caller) -> Check {
    let subject = "control groups";
    match cgroup::obstacle(caller) {
        None => Check::ok(subject, "containers can have limits, and instances are counted"),
        Some(failure) => {
            let remedy = failure.next_step().map(str::to_owned);
            let check = Check::limited(subject, format!("{failure}: no limits, no 'instance stats'"));
            Check { remedy, ..check }
        }
    }
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
        let loss = "the caller has no ids of his own there: with --fakeroot there is root alone";
        Check::limited(file, loss).remedy("'config fakeroot --add USER', as root")
    } else {
        Check::ok(file, ranges.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_and_by_number() {
        let text = "anna:100000:65536\n!ben:1:2\n1000:300000:10\nanna:x:1\n# anna:1:1\n";
        let found = |names: &[&str]| subordinate_ids("/etc/subuid", text, names).found;
        assert_eq!(found(&["anna", "1000"]), "65536 from 100000, 10 from 300000");
        assert!(found(&["ben", "1001"]).starts_with("the caller has no ids"));
    }
}
