//! The directives by the names that people type.

use crate::spelling;
use config::{Directive, TABLE};

/// The directive of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Directive> {
    TABLE.iter().find(|directive| directive.name == name)
}

/// The directive whose name looks most like `name`; none if nothing is close.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static Directive> {
    find(spelling::nearest(name, TABLE.iter().map(|directive| directive.name))?)
}

/// `; did you mean "…"?`, or nothing.
#[must_use]
pub fn suggestion(name: &str) -> String {
    nearest(name).map_or_else(String::new, |directive| format!("; did you mean \"{}\"?", directive.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_the_directive_that_was_meant() {
        for (typed, meant) in [
            ("alow setuid", "allow setuid"),
            ("Mount Home", "mount home"),
            ("mount-home", "mount home"),
            ("bind paht", "bind path"),
            ("limit container owner", "limit container owners"),
        ] {
            assert_eq!(nearest(typed).map(|found| found.name), Some(meant), "{typed}");
        }
        assert_eq!(suggestion("mount hom"), "; did you mean \"mount home\"?");
    }

    #[test]
    fn a_name_of_something_else_finds_nothing() {
        for typed in ["", "x", "no such thing", &"mount home".repeat(1000)] {
            assert_eq!(nearest(typed), None, "{typed}");
        }
    }
}
