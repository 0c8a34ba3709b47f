//! `--bind` and `--mount`.

use super::{absolute, container_path};
use crate::error::{Failure, Outcome};
use crate::message::shown;
use protocol::ContainerPath;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Something of the host, or of an image, that the container shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindRequest {
    /// On the host, absolute; or the image that [`BindRequest::in_image`] looks into.
    pub source: PathBuf,
    /// In the container.
    pub destination: ContainerPath,
    /// `ro`
    pub read_only: bool,
    /// `image-src=` or `id=`: the source is an image.
    pub in_image: Option<InImage>,
}

/// Which part of an image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InImage {
    /// `image-src=`: a path in the image; the whole image where absent.
    pub path: Option<ContainerPath>,
    /// `id=`: the object of a SIF; its first data partition where absent.
    pub id: Option<u32>,
}

/// Every bind, those of `--bind` first.
///
/// # Errors
/// A specification that cannot be read.
pub(super) fn parse(binds: &[OsString], mounts: &[OsString]) -> Outcome<Vec<BindRequest>> {
    let mut requests = Vec::new();
    let mut items = binds.iter().peekable();
    while let Some(item) = items.next() {
        // The list was split at commas, options of one bind too: what is an option belongs to the bind before it.
        let mut options = Vec::new();
        while let Some(option) = items.next_if(|next| is_option(next)) {
            options.push(option.as_os_str());
        }
        requests.push(bind(item, &options)?);
    }
    for mount in mounts {
        requests.push(self::mount(mount)?);
    }
    Ok(requests)
}

fn is_option(item: &OsStr) -> bool {
    let bytes = item.as_bytes();
    matches!(bytes, b"ro" | b"rw") || bytes.starts_with(b"image-src=") || bytes.starts_with(b"id=")
}

/// `SRC[:DEST[:OPTION]]`, with `\:` for a colon inside a path.
fn bind(text: &OsStr, more: &[&OsStr]) -> Outcome<BindRequest> {
    let parts = split_at_colons(text.as_bytes());
    let whole = || Failure::new(format!("while parsing bind specification {}", shown(text)));
    let [source, rest @ ..] = &parts[..] else {
        return Err(whole());
    };
    if source.is_empty() || rest.len() > 2 {
        return Err(whole().hint("write SRC, SRC:DEST or SRC:DEST:ro; a colon inside a path is written \\:"));
    }
    let source = absolute(OsStr::from_bytes(source))?;
    let destination = match rest.first() {
        Some(destination) if !destination.is_empty() => OsString::from_vec(destination.clone()),
        _ => source.as_os_str().to_owned(),
    };
    let destination = container_path(&destination, "--bind")?;
    let mut request = BindRequest { source, destination, read_only: false, in_image: None };
    for option in rest.get(1).map(|option| OsStr::from_bytes(option)).into_iter().chain(more.iter().copied())
    {
        set_option(&mut request, option).map_err(|failure| failure.context(whole()))?;
    }
    Ok(request)
}

fn split_at_colons(text: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let Some(part) = parts.last_mut() else { break };
        match byte {
            b'\\' if bytes.peek() == Some(&b':') => part.extend(bytes.next()),
            b':' => parts.push(Vec::new()),
            _ => part.push(byte),
        }
    }
    parts
}

fn set_option(request: &mut BindRequest, option: &OsStr) -> Outcome<()> {
    let (key, value) = key_and_value(option);
    match (key, value) {
        (b"ro" | b"readonly", None | Some(b"true" | b"1")) => request.read_only = true,
        (b"rw" | b"", None) | (b"ro" | b"readonly", Some(b"false" | b"0")) => request.read_only = false,
        (b"image-src", Some(path)) if path == b"/" => {
            request.in_image.get_or_insert_default();
        }
        (b"image-src", Some(path)) => {
            let path = container_path(OsStr::from_bytes(path), "image-src")?;
            request.in_image.get_or_insert_default().path = Some(path);
        }
        (b"id", Some(number)) => {
            let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
            let number = number.filter(|id| *id > 0);
            request.in_image.get_or_insert_default().id =
                Some(number.ok_or_else(|| Failure::new("id= takes the number of an object"))?);
        }
        _ => {
            return Err(Failure::new(format!("{} is not a valid bind option", shown(option))));
        }
    }
    Ok(())
}

fn key_and_value(option: &OsStr) -> (&[u8], Option<&[u8]>) {
    let bytes = option.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(equals) => (&bytes[..equals], Some(&bytes[equals + 1..])),
        None => (bytes, None),
    }
}

/// `type=bind,source=/src,destination=/dst[,ro]`
fn mount(text: &OsStr) -> Outcome<BindRequest> {
    let failure =
        |why: &str| Failure::new(format!("while parsing mount specification {}: {why}", shown(text)));
    let (mut kind, mut source, mut destination, mut options) = (None, None, None, Vec::new());
    let fields = crate::cli::given::items(text);
    for field in &fields {
        match key_and_value(field) {
            (b"type", Some(value)) => kind = Some(value),
            (b"source" | b"src", Some(value)) => source = Some(value),
            (b"destination" | b"dst" | b"target", Some(value)) => destination = Some(value),
            _ => options.push(field.as_os_str()),
        }
    }
    if kind != Some(b"bind") {
        return Err(failure("the mount type must be bind: write type=bind"));
    }
    let source = source.filter(|value| !value.is_empty()).ok_or_else(|| failure("source= is missing"))?;
    let destination = destination.ok_or_else(|| failure("destination= is missing"))?;
    let mut request = BindRequest {
        source: absolute(OsStr::from_bytes(source))?,
        destination: container_path(OsStr::from_bytes(destination), "--mount")?,
        read_only: false,
        in_image: None,
    };
    for option in options {
        set_option(&mut request, option).map_err(|why| failure(&why.to_string()))?;
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> BindRequest {
        parse(&crate::cli::given::items(OsStr::new(text)), &[]).unwrap().remove(0)
    }

    #[test]
    fn a_bind_has_a_source_a_destination_and_options() {
        let plain = one("/a");
        assert_eq!(
            (plain.source.as_path(), plain.destination.as_bytes()),
            (std::path::Path::new("/a"), &b"/a"[..])
        );
        let full = one("/a b:/c/../d//e/:ro");
        assert_eq!(full.destination.as_bytes(), b"/d/e");
        assert!(full.read_only);
        assert_eq!(one("/a\\:b:/c").source, PathBuf::from("/a:b"));
        let image = one("/i.sif:/data:image-src=/x,id=3,ro");
        assert_eq!(image.in_image.as_ref().unwrap().id, Some(3));
        assert!(image.read_only);
    }

    #[test]
    fn a_mount_takes_the_docker_like_form() {
        let text = "type=bind,\"source=/a,b\",dst=/c,readonly";
        let mount = mount(OsStr::new(text)).unwrap();
        assert_eq!((mount.source, mount.read_only), (PathBuf::from("/a,b"), true));
        for bad in
            ["source=/a,dst=/b", "type=tmpfs,source=/a,dst=/b", "type=bind,dst=/b", "type=bind,source=/a"]
        {
            assert!(self::mount(OsStr::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_bind_is_refused() {
        for bad in ["/a:b", "/a:/b:nope", "/a:/b:ro:x", ":/b", "/a:/"] {
            assert!(parse(&[bad.into()], &[]).is_err(), "{bad}");
        }
    }
}
