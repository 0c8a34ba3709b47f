//! `overlay create` and `seal`, `image.create` and `build`: options in, one call out.

use super::given::Given;
use super::{Invocation, Stop, misuse, recipe, reference, remote};
use crate::build::Origin;
use crate::error::Failure;
use crate::message::{self, Level};
use crate::overlay::{
    self, CreateOptions, ImageCreateError, ImageCreateOptions, SIZE_MIB_DEFAULT, SealOptions,
};
use crate::{build, site};
use std::ffi::OsString;
use std::path::PathBuf;

/// Size of an image that `image.create` makes, in MiB, as in the 2.4 command line.
const IMAGE_SIZE_MIB_DEFAULT: u64 = 768;

/// `overlay create`
pub(super) fn overlay_create(invocation: &Invocation, given: &Given, target: OsString) -> Result<(), Stop> {
    let options = CreateOptions {
        program: invocation.program.clone(),
        target: PathBuf::from(target),
        size_mib: size(invocation, "overlay create", given, SIZE_MIB_DEFAULT)?,
        sparse: given.is_on("sparse"),
        create_dirs: given.all("create-dir").iter().map(PathBuf::from).collect(),
        fakeroot: given.is_on("fakeroot"),
        programs: site::programs(&site::load()?),
    };
    Ok(overlay::create(&options)?)
}

/// `overlay seal`
pub(super) fn overlay_seal(invocation: &Invocation, target: OsString) -> Result<(), Stop> {
    let options = SealOptions {
        program: invocation.program.clone(),
        target: PathBuf::from(target),
        programs: site::programs(&site::load()?),
    };
    Ok(overlay::seal(&options)?)
}

/// `image.create`
pub(super) fn image_create(invocation: &Invocation, given: &Given, target: OsString) -> Result<(), Stop> {
    let options = ImageCreateOptions {
        target: PathBuf::from(target),
        size_mib: size(invocation, "image.create", given, IMAGE_SIZE_MIB_DEFAULT)?,
        force: given.is_on("force"),
        programs: site::programs(&site::load()?),
    };
    overlay::image_create(&options).map_err(|error| match error {
        ImageCreateError::Exists => {
            message::say(Level::Error, "Image file exists, not overwriting.");
            Stop::Said(1)
        }
        ImageCreateError::Failed(failure) => failure.into(),
    })
}

/// `build`
pub(super) fn build(
    invocation: &Invocation,
    given: &Given,
    target: OsString,
    source: OsString,
) -> Result<(), Stop> {
    let origin = reference::split(&source)?.map(|(scheme, rest)| Origin::new(scheme, rest));
    let options = build::Options {
        program: invocation.program.clone(),
        target: PathBuf::from(target),
        source: source.into(),
        origin,
        sandbox: given.is_on("sandbox") || given.is_on("update"),
        force: given.is_on("force"),
        programs: site::programs(&site::load()?),
    };
    build::check_place(&options)?;
    if options.origin.is_some() {
        let fetched = remote::fetch(invocation, given)?;
        return Ok(build::build(&build::Options { source: fetched.path.clone(), ..options })?);
    }
    if build::is_definition(&options.source) {
        return recipe::build(invocation, given, &options);
    }
    if given.is_on("update") {
        return Err(Failure::new("--update takes a definition file").into());
    }
    Ok(build::build(&options)?)
}

fn size(invocation: &Invocation, command: &str, given: &Given, default: u64) -> Result<u64, Stop> {
    let Some(text) = given.last("size") else {
        return Ok(default);
    };
    text.to_str().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        let text = message::shown(text);
        let what = format!("invalid argument \"{text}\" for \"--size\" flag: it is not a number of MiB");
        misuse(invocation, command, &what)
    })
}
