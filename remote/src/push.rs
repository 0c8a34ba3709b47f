//! `push`: an image of this machine into a registry.

use crate::fetch::SIF_LAYER;
use crate::image::Blob;
use crate::registry::{Access, Registry};
use frontend::cli::given::Given;
use frontend::cli::{Invocation, Stop, reference};
use frontend::error::{Doing, Failure, Outcome};
use frontend::image::{self, Access as Opened, Format};
use frontend::making::Interrupts;
use frontend::message::{self, shown};
use frontend::oci_sif::{self, OciSifFile, media_type};
use frontend::sif::Digest;
use frontend::{lock, overlay};
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
            let opened = synchronized(path, given, &invocation.program)?;
            push_layers(&opened, &connect()?)?;
        }
        _ => {
            return Err(Failure::new(format!("images cannot be pushed to {scheme}:"))
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
fn synchronized(path: &Path, given: &Given, program: &str) -> Outcome<OciSifFile> {
    let format = given.last("layer-format").map(|format| format.to_string_lossy().into_owned());
    let found = oci_sif::open(path, Opened::ReadOnly)?;
    match (format.as_deref(), found.image.overlay()) {
        (Some(format), Some(_)) => {
            return Err(Failure::new(format!(
                "cannot push overlay with layer format \"{}\", use 'overlay seal' before pushing this image",
                shown(format)
            )));
        }
        (Some("tar"), None) => {
            return Err(Failure::new("layers cannot be converted to tar archives")
                .hint("Push them as they are, without --layer-format"));
        }
        (Some("squashfs") | None, _) => {}
        (Some(other), None) => {
            return Err(
                Failure::new(format!("{} is no layer format", shown(other))).hint("It is squashfs or tar")
            );
        }
    }
    if found.image.overlay().is_some() {
        message::info("Synchronizing overlay digest to OCI image.");
        overlay::sync(path, program)?;
    }
    let opened = oci_sif::open(path, Opened::ReadOnly)?;
    lock::shared_whole(&opened.file, &opened.path)?;
    opened.again()
}

/// Sends the layers, configuration and manifest of an OCI-SIF.
fn push_layers(opened: &OciSifFile, registry: &Registry<'_>) -> Outcome<()> {
    let blobs = opened.image.blobs().into_iter().map(|blob| {
        let file = opened.file.try_clone().doing(|| "reading the image".into())?;
        Ok((blob.digest, Blob { file, window: blob.window }))
    });
    let manifest = &opened.image.manifest.bytes;
    let document: serde_json::Value =
        serde_json::from_slice(manifest).doing(|| "reading the manifest".into())?;
    let media_type =
        document.get("mediaType").and_then(|value| value.as_str()).unwrap_or(media_type::MANIFEST);
    registry.push(blobs.collect::<Outcome<_>>()?, manifest, media_type)
}
