//! Questions that several directives answer together, or that are asked in more than one place.

use crate::{EnableOverlay, EnableUnderlay, Setting, Settings, SetuidMountSquashfs};

/// How mount points that an image lacks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountPoints {
    /// In an overlay layer of their own.
    Overlay,
    /// In a root in memory that shows the image's parts around them.
    Underlay,
    /// They are not: what would be mounted there is left out, or refused.
    None,
}

impl Settings {
    /// Whether root may mount ext3 images of users through the kernel; the directive that decides, and its line.
    /// Of the two spellings, `no` wins.
    #[must_use]
    pub fn kernel_extfs(&self) -> (bool, &'static str, Option<u32>) {
        let second = (self.allow_setuid_mount_extfs.value, &self.allow_setuid_mount_extfs);
        no_wins(&self.allow_kernel_extfs, "allow kernel extfs", second, "allow setuid-mount extfs")
    }

    /// Whether root may mount squashfs images of users through the kernel; the directive that decides, and its line.
    /// Of the two spellings, `no` wins; `iflimited` is `yes` where a `limit container` directive has an entry.
    #[must_use]
    pub fn kernel_squashfs(&self) -> (bool, &'static str, Option<u32>) {
        let second = &self.allow_setuid_mount_squashfs;
        let allowed = match second.value {
            SetuidMountSquashfs::Yes => true,
            SetuidMountSquashfs::No => false,
            SetuidMountSquashfs::IfLimited => self.limits_containers(),
        };
        no_wins(
            &self.allow_kernel_squashfs,
            "allow kernel squashfs",
            (allowed, second),
            "allow setuid-mount squashfs",
        )
    }

    /// Whether `enable overlay` lets the kernel's overlay be used.
    #[must_use]
    pub fn kernel_overlay(&self) -> bool {
        matches!(self.enable_overlay.value, EnableOverlay::Yes | EnableOverlay::Try)
    }

    /// How mount points that an image lacks are made: `enable overlay` and `enable underlay` decide together.
    #[must_use]
    pub fn mount_points(&self) -> MountPoints {
        match self.enable_underlay.value {
            EnableUnderlay::Preferred => MountPoints::Underlay,
            _ if self.kernel_overlay() => MountPoints::Overlay,
            EnableUnderlay::Yes => MountPoints::Underlay,
            EnableUnderlay::No => MountPoints::None,
        }
    }

    /// Whether any of the `limit container` directives has an entry.
    #[must_use]
    pub fn limits_containers(&self) -> bool {
        let lists = [
            self.limit_container_owners.len(),
            self.limit_container_groups.len(),
            self.limit_container_paths.len(),
        ];
        lists.iter().any(|length| *length > 0)
    }

    /// Where helper programs are looked for. Of the two spellings the one that is written holds; of two written ones
    /// `binary path`.
    #[must_use]
    pub fn search_path(&self) -> &str {
        let only_the_other = self.binary_path.line.is_none() && self.user_search_path.line.is_some();
        if only_the_other { &self.user_search_path.value } else { &self.binary_path.value }
    }
}

/// The first that forbids decides; if none does, the first that was written.
fn no_wins<T>(
    first: &Setting<bool>,
    first_name: &'static str,
    (second_allows, second): (bool, &Setting<T>),
    second_name: &'static str,
) -> (bool, &'static str, Option<u32>) {
    let second_decides = first.value && (!second_allows || first.line.is_none() && second.line.is_some());
    if second_decides {
        (second_allows, second_name, second.line)
    } else {
        (first.value, first_name, first.line)
    }
}
