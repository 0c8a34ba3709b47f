//! `push`: an image of this machine into a registry.

use crate::archive::Archive;
use crate::documents;
use crate::fetch::SIF_LAYER;
use crate::image::{Blob, Image};
use crate::oci_sif::{with_annotations, with_layers};
use crate::registry::{Access, Registry};
use frontend::build::Tools;
use frontend::cli::given::Given;
use frontend::cli::{Invocation, Stop, reference};
use frontend::error::{Doing, Failure, Outcome};
use frontend::image::{self, Access as Opened, Format};
use frontend::making::Interrupts;
use frontend::message::{self, shown};
use frontend::oci_sif::{self, OciSifFile, media_type};
use frontend::sif::Digest;
use frontend::{lock, overlay, site};
use protocol::Window;
use serde_json::json;
use std::ffi::OsString;
use std::path::Path;

/// The media type of the configuration of a SIF that a registry stores whole, which is empty.
const SIF_CONFIG: &str = "application/vnd.sylabs.sif.config.v1+json";

/// `push`
pub(crate) fn push(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let [path, target] = words else {
        return Err(Failure::new("push takes an image and a reference").into());
    };
    let (path, named) = (Path::new(path), reference::split(target)?);
    let Some((scheme, rest)) = named else {
        return Err(Failure::new(format!("{} is no reference to an image", shown(target)))
            .hint("Say where it goes: oras://REGISTRY/NAME:TAG, or docker:// for an OCI-SIF")
            .into());
    };
    if given.is_on("allow-unsigned") {
        message::warning("Skipping container verification");
    }
    let interrupts = Interrupts::hold()?;
    let connect = || Registry::of(scheme, rest, &Access { invocation, given }, &interrupts);
    match scheme {
        "oras" => push_whole(path, &connect()?)?,
        "docker" => {
            let format = LayerFormat::wanted(given)?;
            let opened = synchronized(path, format, &invocation.program)?;
            match format {
                Some(LayerFormat::Tar) => {
                    let programs = site::programs(&site::load()?);
                    let tools = Tools { programs: &programs, interrupts: &interrupts };
                    push_archives(&opened, &connect()?, tools)?;
                }
                Some(LayerFormat::Squashfs) | None => push_layers(&opened, &connect()?)?,
            }
        }
        _ => {
            return Err(Failure::new(format!(
                "images are pushed to registries only, and {} names none",
                shown(target)
            ))
            .hint("Push to oras://REGISTRY/NAME:TAG, or an OCI-SIF to docker://; 'skopeo copy' puts an image from a registry anywhere else")
                .into());
        }
    }
    Ok(())
}

/// Sends a SIF as it is.
fn push_whole(path: &Path, registry: &Registry<'_>) -> Outcome<()> {
    let opened = image::open(path, Opened::ReadOnly)?;
    if !matches!(opened.format, Format::Sif(_)) {
        return Err(Failure::new(format!("{} is not a SIF", shown(path)))
            .hint("Make one with 'build'; an OCI-SIF goes to docker://"));
    }
    lock::shared_whole(&opened.file, &opened.path)?;
    let reading = || format!("reading {}", shown(path));
    let size = opened.file.metadata().doing(reading)?.len();
    let digest = Digest::of_part(&opened.file, Window { offset: 0, size }, reading)?;
    let config = b"{}";
    let name = opened.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": { "mediaType": SIF_CONFIG, "size": config.len(), "digest": Digest::of(config).to_string() },
        "layers": [{
            "mediaType": SIF_LAYER,
            "size": size,
            "digest": digest.to_string(),
            "annotations": { "org.opencontainers.image.title": name },
        }],
    });
    let blobs = vec![
        (Digest::of(config), Blob::of_bytes(config)?),
        (digest, Blob { file: opened.file, window: Window { offset: 0, size } }),
    ];
    registry.push(blobs, manifest.to_string().as_bytes(), media_type::MANIFEST)
}

/// Opens an OCI-SIF whose digests are all up to date, and keeps writers from it.
fn synchronized(path: &Path, format: Option<LayerFormat>, program: &str) -> Outcome<OciSifFile> {
    if matches!(image::open(path, Opened::ReadOnly)?.format, Format::Sif(_)) {
        return Err(Failure::new(format!("{} is a native SIF, not an OCI-SIF", shown(path)))
            .hint("A native SIF goes to oras://; 'pull --oci' makes OCI-SIF files"));
    }
    let found = oci_sif::open(path, Opened::ReadOnly)?;
    if found.image.overlay().is_some() {
        if let Some(format) = format {
            return Err(Failure::new(format!(
                "cannot push overlay with layer format \"{}\", use 'overlay seal' before pushing this image",
                format.name()
            )));
        }
        message::info("Synchronizing overlay digest to OCI image.");
        overlay::sync(path, program)?;
    }
    let opened = oci_sif::open(path, Opened::ReadOnly)?;
    lock::shared_whole(&opened.file, &opened.path)?;
    opened.again()
}

/// What `--layer-format` names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LayerFormat {
    Squashfs,
    Tar,
}

impl LayerFormat {
    fn wanted(given: &Given) -> Outcome<Option<Self>> {
        let Some(name) = given.last("layer-format") else { return Ok(None) };
        [Self::Squashfs, Self::Tar].into_iter().find(|format| name == format.name()).map(Some).ok_or_else(
            || Failure::new(format!("{} is no layer format", shown(name))).hint("It is squashfs or tar"),
        )
    }

    fn name(self) -> &'static str {
        match self {
            Self::Squashfs => "squashfs",
            Self::Tar => "tar",
        }
    }
}

/// Sends the layers, configuration and manifest of an OCI-SIF as they are.
fn push_layers(opened: &OciSifFile, registry: &Registry<'_>) -> Outcome<()> {
    let blobs = opened.image.blobs().into_iter().map(|blob| Ok((blob.digest, part(opened, blob.window)?)));
    let manifest = &opened.image.manifest.bytes;
    let document: serde_json::Value =
        serde_json::from_slice(manifest).doing(|| "reading the manifest".into())?;
    let media_type =
        document.get("mediaType").and_then(|value| value.as_str()).unwrap_or(media_type::MANIFEST);
    registry.push(blobs.collect::<Outcome<_>>()?, manifest, media_type)
}

/// Sends an OCI-SIF with archives for its layers, as other tools have them.
fn push_archives(opened: &OciSifFile, registry: &Registry<'_>, tools: Tools<'_>) -> Outcome<()> {
    let oci_sif::OciSif { manifest, config, layers, .. } = &opened.image;
    let blobs = layers.iter().map(|layer| part(opened, layer.window)).collect::<Outcome<_>>()?;
    let image = Image::new(&documents::read_manifest(&manifest.bytes)?, &config.bytes, blobs, tools)?;
    message::info("Converting layers to tar archives...");
    let archives =
        (0..layers.len()).map(|number| Archive::of(&image, number)).collect::<Outcome<Vec<_>>>()?;
    let contents: Vec<Digest> = archives.iter().map(|archive| archive.content).collect();
    let config = with_layers(&config.bytes, &contents, manifest.digest)?;
    let descriptors: Vec<_> = archives.iter().map(Archive::descriptor).collect();
    let new = json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": { "mediaType": media_type::CONFIG, "size": config.len(), "digest": Digest::of(&config).to_string() },
        "layers": descriptors,
    });
    let new = with_annotations(new.to_string().into_bytes(), &manifest.bytes)?;
    let mut blobs: Vec<_> = archives.into_iter().map(|archive| (archive.digest, archive.blob)).collect();
    blobs.push((Digest::of(&config), Blob::of_bytes(&config)?));
    registry.push(blobs, &new, media_type::MANIFEST)
}

fn part(opened: &OciSifFile, window: Window) -> Outcome<Blob> {
    Ok(Blob { file: opened.file.try_clone().doing(|| "reading the image".into())?, window })
}
