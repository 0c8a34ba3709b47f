//! `explain`: the plan in words, and under each part the line of `singularity.conf` that decides about it.

use super::{Stop, answer, dry_run};
use crate::admin::rules::{ImageFacts, Rule, Rules};
use crate::error::{Doing, Outcome};
use crate::intent::{HomeRequest, Intent};
use crate::message::shown;
use crate::planning::{Planned, Source};
use crate::user::Caller;
use crate::{sif, site};
use config::Settings;
use nix::sys::stat::fstat;
use nix::sys::statfs::{FUSE_SUPER_MAGIC, fstatfs};
use protocol::{Image, Mount, Writable};
use std::fs::{self, File};
use std::os::fd::AsRawFd;

/// What `explain` prints.
pub(super) const NOTES: &str = "\
Nothing is started or mounted. Each part of the container is a line; below it are the directives of
singularity.conf that decide about it, with their lines. The starter decides anew when a container is
started, by the same rules. What cannot be planned fails as exec does; when a directive refuses
something the exit status is 1.

";

/// A part of the container and the rules about it.
struct Part {
    label: &'static str,
    what: String,
    rules: Vec<Rule>,
}

/// Prints why the container would be as it would be.
///
/// # Errors
/// Standard output cannot be written to; status 1 when a rule refuses a part.
pub(super) fn print(
    planned: &Planned,
    intent: &Intent,
    site: &Settings,
    caller: &Caller,
) -> Result<(), Stop> {
    let rules = Rules { site, root: caller.is_root(), flow: planned.flow() };
    let parts = parts(planned, intent, rules)?;
    let mut text = String::new();
    for part in &parts {
        text.push_str(&in_words(part.label, &part.what, &part.rules));
    }
    for (what, rule) in rules.withheld() {
        text.push_str(&in_words("not there", what, &[rule]));
    }
    let refusals = parts.iter().flat_map(|part| &part.rules);
    let refusal = refusals.into_iter().find(|rule| !rule.allows);
    if let Some(rule) = refusal {
        text.push_str(&format!("\nThe container would be {rule} of {}\n", site::path()));
    }
    answer::print(text)?;
    refusal.map_or(Ok(()), |_| Err(Stop::Said(1)))
}

fn in_words(label: &str, what: &str, rules: &[Rule]) -> String {
    let mut text = format!("{label:<12} {what}\n");
    for rule in rules {
        text.push_str(&format!("{:<14} {rule}\n", ""));
    }
    text
}

fn parts(planned: &Planned, intent: &Intent, rules: Rules) -> Outcome<Vec<Part>> {
    let plan = &planned.plan;
    let part = |label, what, rules| Part { label, what, rules };
    let image = |image: &Image| -> Outcome<Vec<Rule>> {
        let source = planned.sources.get(usize::from(image.descriptor.0));
        let facts = source.map(facts).transpose()?;
        Ok(facts.map_or_else(Vec::new, |facts| rules.of_image(image.content, &facts)))
    };
    let mut parts = vec![part("container", shown(&planned.image), rules.of_starting())];
    parts.push(part("started", dry_run::way(planned), Vec::new()));
    parts.push(part("root", dry_run::image(planned, &plan.root), image(&plan.root)?));
    for layer in &plan.layers {
        let what = format!("{}, read-only", dry_run::image(planned, layer));
        let all = std::iter::once(rules.of_overlay()).chain(image(layer)?).collect();
        parts.push(part("overlay", what, all));
    }
    let mut writable = rules.of_writable(&plan.writable);
    if let Writable::Overlay(overlay) = &plan.writable {
        writable.extend(image(overlay)?);
        writable.extend(rules.of_image_over_directory(plan));
    }
    parts.push(part("writes", dry_run::writes(planned), writable));
    for mount in &plan.mounts {
        let (place, what) = dry_run::describe(planned, mount);
        let chosen_home = matches!(intent.home, HomeRequest::Custom { .. });
        let mut all = rules.of_mount(mount, chosen_home);
        if let Mount::Data { image: data, .. } = mount {
            all.extend(image(data)?);
        }
        parts.push(part("mount", format!("{place:<24} {what}"), all));
    }
    for served in &planned.file_systems {
        let (place, what) = dry_run::file_system(served);
        parts.push(part("mount", format!("{place:<24} {what}"), vec![rules.of_file_system()]));
    }
    for file in &plan.account_files {
        let what = format!("{:<24} {}", file.path(), dry_run::account_file(*file));
        parts.push(part("mount", what, rules.of_account_file(*file)));
    }
    let namespaces = rules.of_namespaces(plan.namespaces);
    if !namespaces.is_empty() {
        parts.push(part("namespaces", dry_run::namespaces(planned), namespaces));
    }
    let (how, rule) = rules.of_mount_points();
    let made = Rule { allows: true, ..rule };
    parts.push(part("mount points", format!("that an image lacks are {how}"), vec![made]));
    Ok(parts)
}

/// What the starter would learn from the descriptor.
fn facts(source: &Source) -> Outcome<ImageFacts> {
    let looking = || format!("looking at {}", shown(&source.path));
    let found = fstat(&source.file).doing(looking)?;
    let link = format!("/proc/self/fd/{}", source.file.as_raw_fd());
    let on_fuse = fstatfs(&source.file).doing(looking)?.filesystem_type() == FUSE_SUPER_MAGIC;
    let file = File::from(source.file.try_clone().doing(looking)?);
    Ok(ImageFacts {
        in_sif: sif::starts_as_sif(&file),
        owner: (found.st_uid, found.st_gid),
        place: fs::read_link(link).doing(looking)?,
        firm: found.st_nlink > 0 && !on_fuse,
    })
}
