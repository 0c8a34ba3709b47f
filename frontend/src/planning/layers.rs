//! The layers of the container's root: the image, what is embedded in it, overlays, and where writes go.

use super::unfit::{Role, Unfit};
use super::{Sources, by_site};
use crate::error::{Doing, Failure, Outcome};
use crate::image::{
    self, Access, EmbeddedContent, Ext3, Format, Image, RootContent, SifImage, open_writable_if_permitted,
};
use crate::intent::{Intent, OverlayRequest};
use crate::lock;
use crate::making::amount;
use crate::message::{self, shown};
use crate::oci_mode::ImageConfig;
use crate::oci_sif::OciSif;
use crate::sif::Arch;
use config::{EnableOverlay, Settings};
use nix::sys::statvfs::fstatvfs;
use protocol::{Content, Writable};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of a block as `stat` counts them, whatever the file system's own are (`stat(2)`).
const STAT_BLOCK_BYTES: u64 = 512;

/// The whole root.
pub(super) struct Stack {
    /// The image.
    pub(super) root: protocol::Image,
    /// Read-only layers above it, lowest first.
    pub(super) layers: Vec<protocol::Image>,
    /// Where writes go.
    pub(super) writable: Writable,
    /// The image's absolute path.
    pub(super) image: PathBuf,
    /// What an OCI image says of its processes.
    pub(super) config: Option<ImageConfig>,
    /// What the kernel's overlay cannot use.
    pub(super) unfit: Option<Unfit>,
}

/// Opens, inspects and locks everything the root consists of.
///
/// # Errors
/// Which of it cannot be used, and why.
pub(super) fn stack(intent: &Intent, site: &Settings, sources: &mut Sources) -> Outcome<Stack> {
    let access = if intent.writable { Access::ReadWrite } else { Access::ReadOnly };
    let image = image::open(&intent.image, access)?;
    let content = root_content(&image, intent)?;
    let root = protocol::Image { descriptor: sources.add_image(&image)?, content };
    let mut builder = Builder {
        intent,
        site,
        sources,
        layers: Vec::new(),
        upper: None,
        directories: Vec::new(),
        unfit: None,
    };
    let mut writable = Writable::Nothing;
    match &image.format {
        Format::Sif(sif) => {
            if let Some(RootContent::Ext3(ext3)) = sif.primary.map(|primary| primary.content) {
                builder.use_ext3(&image, ext3, false)?;
            }
            builder.embedded(&image, sif, intent.writable)?;
        }
        Format::Ext3(ext3) => {
            builder.use_ext3(&image, *ext3, intent.writable)?;
        }
        Format::OciSif(oci) => builder.oci_layers(&image, oci)?,
        _ => {}
    }
    if intent.writable && builder.upper.is_none() {
        match image.format {
            Format::Sif(_) => return Err(no_writable_partition(intent, &image.path)),
            Format::OciSif(_) => return Err(no_writable_overlay(intent)),
            _ => {}
        }
        writable = Writable::Root;
    }
    for request in &intent.overlays {
        builder.overlay(request).map_err(|failure| failure.context("while loading overlay images"))?;
    }
    let Builder { layers, upper, mut unfit, .. } = builder;
    if let Some((overlay, path)) = upper {
        if intent.writable_tmpfs {
            return Err(Failure::new(format!(
                "while loading overlay images: you can't specify --writable-tmpfs with another writable overlay \
                 image ({})",
                shown(&path)
            ))
            .hint("use the overlay with :ro below the temporary layer, or leave out --writable-tmpfs"));
        }
        writable = Writable::Overlay(overlay);
    }
    if intent.writable_tmpfs {
        require_overlay(intent, site, "--writable-tmpfs requires")?;
        writable = Writable::Tmpfs;
    }
    if intent.oci.is_some() {
        require_overlay(intent, site, "--oci requires")?;
    }
    if writable == Writable::Nothing && intent.oci.is_some_and(|oci| oci.compat) {
        writable = Writable::Tmpfs;
    }
    let stacked = !layers.is_empty() || matches!(writable, Writable::Overlay(_) | Writable::Tmpfs);
    if stacked && image.format == Format::Sandbox {
        unfit = unfit.or_else(|| Unfit::find(&image.file, &image.path, Role::Lower));
    }
    let config = match &image.format {
        Format::OciSif(oci) => Some(ImageConfig::read(&oci.config.bytes, &image.path)?),
        _ => None,
    };
    config.iter().filter_map(|config| config.arch).try_for_each(require_runnable)?;
    Ok(Stack { root, layers, writable, image: image.path, config, unfit })
}

fn no_writable_overlay(intent: &Intent) -> Failure {
    let path = shown(&intent.image);
    Failure::new(format!("image oci-sif:{path} does not contain a writable overlay"))
        .hint(format!("'{} overlay create {path}' adds one", intent.program))
}

fn no_writable_partition(intent: &Intent, path: &Path) -> Failure {
    let (program, path) = (&intent.program, shown(path));
    Failure::new(format!("no SIF writable overlay partition found in {path}"))
        .hint(format!("'{program} overlay create {path}' adds one"))
}

/// What the plan says of the image.
fn root_content(image: &Image, intent: &Intent) -> Outcome<Content> {
    let path = shown(&image.path);
    if intent.oci.is_some() {
        require_fit_for_oci(&image.format)?;
    }
    match &image.format {
        Format::Sandbox => Ok(Content::Directory),
        Format::Squashfs(_) if intent.writable => Err(Failure::new(format!(
            "could not set {path} image writable: squashfs is a read-only filesystem"
        ))
        .hint(format!("'{} overlay create FILE' makes an overlay for --overlay FILE", intent.program))),
        Format::Squashfs(squashfs) => Ok(Content::Squashfs(squashfs.window)),
        Format::Ext3(ext3) => Ok(Content::Ext3(ext3.window)),
        Format::OciSif(_) if intent.oci.is_none() => {
            Err(Failure::new("native runtime does not support OCI-SIF images, use --oci mode"))
        }
        Format::OciSif(oci) => oci_root(oci, &path),
        Format::Sif(sif) => sif_root(sif, &path),
    }
}

/// OCI mode runs what says what it runs.
fn require_fit_for_oci(format: &Format) -> Outcome<()> {
    let kind = match format {
        Format::Sandbox => "sandbox",
        Format::Squashfs(_) => "squashfs",
        Format::Ext3(_) => "ext3",
        Format::Sif(_) | Format::OciSif(_) => return Ok(()),
    };
    Err(Failure::new(format!("OCI mode cannot run bare {kind} images"))
        .hint("leave --oci out to run it in native mode"))
}

/// The lowest layer of an OCI image.
fn oci_root(oci: &OciSif, path: &str) -> Outcome<Content> {
    if !oci.is_image {
        return Err(Failure::new(format!("{path} is a data container, which has no programs to run")));
    }
    match oci.layers.first().map(|layer| layer.content) {
        Some(EmbeddedContent::Squashfs(squashfs)) => Ok(Content::Squashfs(squashfs.window)),
        Some(EmbeddedContent::Ext3(_)) | None => {
            Err(Failure::new(format!("{path} has no layer with a root file system")))
        }
    }
}

fn sif_root(sif: &SifImage, path: &str) -> Outcome<Content> {
    let Some(primary) = &sif.primary else {
        return Err(Failure::new(format!("no root file system partition found in {path}"))
            .hint("it may be meant as an overlay or as data"));
    };
    require_runnable(primary.arch)?;
    match primary.content {
        RootContent::Squashfs(squashfs) => Ok(Content::Squashfs(squashfs.window)),
        RootContent::Ext3(ext3) => Ok(Content::Ext3(ext3.window)),
        RootContent::EncryptedLuks | RootContent::EncryptedGocryptfs => {
            Err(Failure::new(format!("{path} is encrypted, and encrypted images are not supported")))
        }
        RootContent::Other(_) => {
            Err(Failure::new(format!("the root file system of {path} is of a type that is not supported")))
        }
    }
}

fn require_runnable(arch: Arch) -> Outcome<()> {
    if runs_here(arch) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the image's architecture ({}) could not run on the host's ({})",
        arch.name(),
        Arch::host().name()
    )))
}

/// Whether the kernel can run programs of this architecture, by itself or through an emulator that is set up.
fn runs_here(arch: Arch) -> bool {
    let host = Arch::host();
    arch == host
        || !arch.is_known()
        || (arch.name(), host.name()) == ("386", "amd64")
        || Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{}", emulator(arch))).exists()
}

/// The name QEMU has for an architecture.
fn emulator(arch: Arch) -> &'static str {
    match arch.name() {
        "amd64" => "x86_64",
        "386" => "i386",
        "arm64" => "aarch64",
        "mipsle" => "mipsel",
        "mips64le" => "mips64el",
        "loong64" => "loongarch64",
        other => other,
    }
}

/// `enable overlay` forbids what `what` begins to say. OCI mode has only the kernel's overlay.
fn require_overlay(intent: &Intent, site: &Settings, what: &str) -> Outcome<()> {
    let word = match site.enable_overlay.value {
        EnableOverlay::No => "no",
        EnableOverlay::Driver if intent.oci.is_some() => "driver",
        EnableOverlay::Driver | EnableOverlay::Yes | EnableOverlay::Try => return Ok(()),
    };
    let text = format!("{what} 'enable overlay = yes': set to '{word}' by administrator");
    Err(by_site(text, site.enable_overlay.line))
}

struct Builder<'a> {
    intent: &'a Intent,
    site: &'a Settings,
    sources: &'a mut Sources,
    layers: Vec<protocol::Image>,
    upper: Option<(protocol::Image, PathBuf)>,
    /// Device and inode of each directory, which the kernel stacks once only.
    directories: Vec<(u64, u64)>,
    unfit: Option<Unfit>,
}

impl Builder<'_> {
    /// The overlays inside a SIF: read-only layers, but for the first ext3 when `write` asks for a writable one.
    fn embedded(&mut self, image: &Image, sif: &SifImage, write: bool) -> Outcome<()> {
        if sif.overlays.is_empty() {
            return Ok(());
        }
        require_overlay(self.intent, self.site, "SIF overlay partition requires")?;
        let mut wanted = write;
        for partition in &sif.overlays {
            match partition.content {
                EmbeddedContent::Squashfs(squashfs) => {
                    self.layer(image, Content::Squashfs(squashfs.window))?
                }
                EmbeddedContent::Ext3(ext3) => {
                    self.ext3_overlay(image, ext3, std::mem::take(&mut wanted))?;
                }
            }
        }
        Ok(())
    }

    /// The layers above the root of an OCI image. The topmost may be an overlay.
    fn oci_layers(&mut self, image: &Image, oci: &OciSif) -> Outcome<()> {
        for layer in oci.layers.iter().skip(1) {
            match layer.content {
                EmbeddedContent::Squashfs(squashfs) => {
                    self.layer(image, Content::Squashfs(squashfs.window))?
                }
                EmbeddedContent::Ext3(ext3) => self.ext3_overlay(image, ext3, self.intent.writable)?,
            }
        }
        Ok(())
    }

    /// One `--overlay`.
    fn overlay(&mut self, request: &OverlayRequest) -> Outcome<()> {
        require_overlay(self.intent, self.site, "overlay images requires")?;
        let path = &request.path;
        let opened = if request.read_only {
            image::open(path, Access::ReadOnly)
        } else {
            open_writable_if_permitted(path)
        };
        let image = opened
            .map_err(|failure| failure.context(format!("failed to open overlay image {}", shown(path))))?;
        let write = !request.read_only;
        match &image.format {
            Format::Squashfs(squashfs) => self.layer(&image, Content::Squashfs(squashfs.window)),
            Format::Ext3(ext3) => {
                self.require_writable(&image, write)?;
                self.ext3_overlay(&image, *ext3, write)
            }
            Format::Sandbox => self.directory(&image, write),
            Format::Sif(sif) if sif.overlays.is_empty() => Err(Failure::new(format!(
                "{} has no overlay partition, so it cannot be used as an overlay",
                shown(&image.path)
            ))
            .hint(format!(
                "'{} overlay create {}' adds one",
                self.intent.program,
                shown(&image.path)
            ))),
            Format::Sif(sif) => {
                let write = write && sif.ext3_overlays().next().is_some();
                self.require_writable(&image, write)?;
                self.embedded(&image, sif, write)
            }
            Format::OciSif(_) => Err(Failure::new(format!(
                "image {} is of a type that is not currently supported as overlay",
                shown(&image.path)
            ))),
        }
    }

    /// A writable overlay that cannot be written is never quietly read-only.
    fn require_writable(&self, image: &Image, write: bool) -> Outcome<()> {
        if write && image.access == Access::ReadOnly {
            let path = shown(&image.path);
            return Err(
                image::unwritable(&image.path).hint(format!("use it read-only with --overlay {path}:ro"))
            );
        }
        Ok(())
    }

    fn directory(&mut self, image: &Image, write: bool) -> Outcome<()> {
        self.require_writable(image, write)?;
        let role = if write { Role::Upper } else { Role::Lower };
        self.unfit = self.unfit.take().or_else(|| Unfit::find(&image.file, &image.path, role));
        let found = image.file.metadata().doing(|| format!("looking at {}", shown(&image.path)))?;
        let this = (found.dev(), found.ino());
        if self.directories.contains(&this) {
            return Err(Failure::new(format!("duplicate overlays detected: [{}]", shown(&image.path)))
                .hint("name each directory once"));
        }
        self.directories.push(this);
        if write {
            self.writable_layer(image, Content::Directory)
        } else {
            self.layer(image, Content::Directory)
        }
    }

    fn ext3_overlay(&mut self, image: &Image, ext3: Ext3, write: bool) -> Outcome<()> {
        self.use_ext3(image, ext3, write)?;
        let content = Content::Ext3(ext3.window);
        if write { self.writable_layer(image, content) } else { self.layer(image, content) }
    }

    fn layer(&mut self, image: &Image, content: Content) -> Outcome<()> {
        let descriptor = self.sources.add_image(image)?;
        self.layers.push(protocol::Image { descriptor, content });
        Ok(())
    }

    fn writable_layer(&mut self, image: &Image, content: Content) -> Outcome<()> {
        if let Some((_, first)) = &self.upper {
            return Err(Failure::new(format!(
                "you can't specify more than one writable overlay, {} contains a writable overlay, requires to use \
                 '--overlay {}:ro'",
                shown(first),
                shown(&image.path)
            )));
        }
        let descriptor = self.sources.add_image(image)?;
        self.upper = Some((protocol::Image { descriptor, content }, image.path.clone()));
        Ok(())
    }

    /// Locks an ext3 and looks at what its superblock says of its state.
    fn use_ext3(&self, image: &Image, ext3: Ext3, write: bool) -> Outcome<()> {
        let path = shown(&image.path);
        if let Some((_, first)) = &self.upper
            && write
            && *first == image.path
        {
            return Err(Failure::new(format!(
                "can't open {path} for writing, already used for writing by this process"
            ))
            .hint(lock::USED_TWICE));
        }
        let access = if write { Access::ReadWrite } else { Access::ReadOnly };
        lock::take(&image.file, &image.path, ext3.window, access)
            .map_err(|failure| failure.context(format!("while locking ext3 partition from {path}")))?;
        let ext3 = settled(image, ext3)?;
        ext3.require_sound(&image.path)?;
        if ext3.needs_recovery && !write {
            let text = format!(
                "the ext3 file system in {path} was not closed properly and has to be recovered before it is used read-only"
            );
            // e2fsck replays no journal at an offset: it opens the file once more without it.
            return Err(Failure::new(text).hint(if ext3.window.offset == 0 {
                format!(
                    "{} repairs it, and so does using it once for writing",
                    ext3.repair_command(&image.path)
                )
            } else {
                "using it once for writing recovers it: with --writable, or as an overlay without :ro".into()
            }));
        }
        if write {
            warn_of_little_room(image);
        }
        if ext3.needs_recovery {
            message::verbose(format!("The journal of {path} is replayed: its last user did not close it"));
        }
        Ok(())
    }
}

/// Says when an image with holes may want more of its disk than there is. The kernel takes the writes all the same, and what
/// finds no room in the end is lost without anybody being told.
fn warn_of_little_room(image: &Image) {
    let (Ok(file), Ok(disk)) = (image.file.metadata(), fstatvfs(&image.file)) else { return };
    let wanted = file.len().saturating_sub(file.blocks().saturating_mul(STAT_BLOCK_BYTES));
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if wanted > free {
        let (path, wanted, free) = (shown(&image.path), amount(wanted), amount(free));
        message::warning(format!(
            "{path} may grow by {wanted}, and its disk has {free} left: what finds no room there is lost"
        ));
    }
}

/// What the superblock says now that the lock keeps others from it: a writer may have ended since it was read.
fn settled(image: &Image, ext3: Ext3) -> Outcome<Ext3> {
    if ext3.is_closed() {
        return Ok(ext3);
    }
    image::inspect_ext3(&image.file, &image.path, ext3.window)
}
