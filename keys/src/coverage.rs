//! What a signature says it covers: the JSON text that is signed.

use crate::digest::{Digest, Hash};
use crate::image::Image;
use frontend::error::Outcome;
use frontend::sif::Descriptor;
use serde::{Deserialize, Serialize};

/// The only version of the text.
const VERSION: u32 = 1;

/// The text, field by field in its order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Coverage {
    version: u32,
    header: Header,
    objects: Vec<Object>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Header {
    digest: Digest,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    relative_id: u32,
    descriptor_digest: Digest,
    object_digest: Digest,
}

/// Why an image is not what a signature covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mismatch {
    /// The group has objects that were not signed, or lacks some that were.
    Objects {
        /// The id of the first one.
        id: u64,
        /// Whether it is there.
        present: bool,
    },
    /// The header is another one.
    Header,
    /// What the descriptor of this object says is not what was signed.
    Descriptor(u32),
    /// The data of this object is not what was signed.
    Data(u32),
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Objects { id, present: true } => write!(f, "object {id} is not among those signed"),
            Self::Objects { id, present: false } => write!(f, "object {id} was signed and is not there"),
            Self::Header => f.write_str("header integrity compromised"),
            Self::Descriptor(id) => write!(f, "data object descriptor integrity compromised: {id}"),
            Self::Data(id) => write!(f, "data object integrity compromised: {id}"),
        }
    }
}

impl Coverage {
    /// What is to be signed: these objects, by rising id, of a group whose smallest id is given.
    ///
    /// # Errors
    /// The image cannot be read, or somebody is writing to it.
    pub fn of(image: &Image, objects: &[&Descriptor], smallest_id: u32, hash: Hash) -> Outcome<Self> {
        let mut covered = Vec::with_capacity(objects.len());
        for object in objects {
            let relative_id = object.id.saturating_sub(smallest_id);
            covered.push(Object {
                relative_id,
                descriptor_digest: image.descriptor_digest(object, relative_id, hash)?,
                object_digest: image.data_digest(object, hash)?,
            });
        }
        Ok(Self { version: VERSION, header: Header { digest: image.header_digest(hash)? }, objects: covered })
    }

    /// Reads the text.
    ///
    /// # Errors
    /// It is no such text, or one of another version, or it speaks of one object twice.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let coverage: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if coverage.version != VERSION {
            return Err(format!("what was signed is of version {}, not {VERSION}", coverage.version));
        }
        let mut ids: Vec<u32> = coverage.objects.iter().map(|object| object.relative_id).collect();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("what was signed has two objects {}", pair[0])),
            None => Ok(coverage),
        }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether these objects, by rising id, are exactly those covered.
    ///
    /// # Errors
    /// The first one that is on one side only.
    pub fn check_objects(&self, objects: &[&Descriptor], smallest_id: u32) -> Result<(), Mismatch> {
        let mut signed: Vec<u64> = self.objects.iter().map(|object| object.id(smallest_id)).collect();
        signed.sort_unstable();
        if let Some(id) = signed.iter().find(|id| !objects.iter().any(|object| u64::from(object.id) == **id))
        {
            return Err(Mismatch::Objects { id: *id, present: false });
        }
        let unsigned = objects.iter().find(|object| signed.binary_search(&u64::from(object.id)).is_err());
        unsigned.map_or(Ok(()), |object| Err(Mismatch::Objects { id: object.id.into(), present: true }))
    }

    /// Whether the header is what was signed.
    ///
    /// # Errors
    /// The image cannot be read.
    pub fn check_header(&self, image: &Image) -> Outcome<Option<Mismatch>> {
        let signed = &self.header.digest;
        Ok((image.header_digest(signed.hash)? != *signed).then_some(Mismatch::Header))
    }

    /// Whether an object is what was signed.
    ///
    /// # Errors
    /// The image cannot be read, or somebody is writing to it.
    pub fn check_object(
        &self,
        image: &Image,
        object: &Descriptor,
        smallest_id: u32,
    ) -> Outcome<Option<Mismatch>> {
        let id = u64::from(object.id);
        let Some(signed) = self.objects.iter().find(|signed| signed.id(smallest_id) == id) else {
            return Ok(Some(Mismatch::Objects { id, present: true }));
        };
        let (descriptor, data) = (&signed.descriptor_digest, &signed.object_digest);
        if image.descriptor_digest(object, signed.relative_id, descriptor.hash)? != *descriptor {
            return Ok(Some(Mismatch::Descriptor(object.id)));
        }
        Ok((image.data_digest(object, data.hash)? != *data).then_some(Mismatch::Data(object.id)))
    }
}

impl Object {
    /// The id in a group with this smallest one. Wider than an id, so that it cannot wrap.
    fn id(&self, smallest_id: u32) -> u64 {
        u64::from(smallest_id) + u64::from(self.relative_id)
    }
}
