//! What administrators ask: whether the site's file says what was meant, that a line of it be changed, what this host
//! can do, and which line decides about a container.

pub mod account_files;
pub mod check;
pub mod directive;
pub mod doctor;
pub mod edit;
pub mod grants;
pub mod rules;
pub mod subordinate_ids;
pub mod trust;
