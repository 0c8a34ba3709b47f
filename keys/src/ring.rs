//! Key rings: files of OpenPGP keys, one behind the other, where the incumbents keep theirs.

use frontend::cli::Invocation;
use frontend::cli::given::Given;
use frontend::error::{Doing, Failure, Outcome};
use frontend::file::{Existing, NewFile};
use frontend::message::{self, shown};
use frontend::payload::Dialect;
use frontend::site;
use nix::fcntl::{Flock, FlockArg};
use pgp::composed::Deserializable;
use pgp::ser::Serialize;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Most bytes of a ring, or of a file of keys: thousands of keys with all their signatures.
const RING_BYTES_MAX: u64 = 64 << 20;
/// Most keys read of one file. A parser that stops making headway ends there.
const KEYS_MAX: usize = 1 << 16;

/// Where rings are.
#[derive(Debug)]
pub struct Rings {
    /// The caller's folder for both of theirs.
    folder: PathBuf,
    /// The site's ring of public keys.
    global: PathBuf,
}

impl Rings {
    /// The caller's and the site's.
    ///
    /// # Errors
    /// The caller has no account.
    pub fn of(invocation: &Invocation, given: &Given) -> Outcome<Self> {
        let global = Path::new(&site::path()).with_file_name("global-pgp-public");
        let host = &invocation.host;
        let variable = |name: &str| {
            let [prefix, _] = host.prefixes();
            host.get(&format!("{prefix}_{name}")).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        let (folder, own) = match invocation.dialect {
            Dialect::Singularity => ("sypgp", "SYPGPDIR"),
            Dialect::Apptainer => ("keys", "KEYSDIR"),
        };
        let folder = match given.last("keysdir").map(PathBuf::from).or_else(|| variable(own)) {
            Some(folder) => folder,
            None => invocation.configuration_directory()?.join(folder),
        };
        Ok(Self { folder, global })
    }

    /// The caller's public keys.
    #[must_use]
    pub fn public(&self) -> Ring {
        Ring { path: self.folder.join("pgp-public"), mode: 0o600 }
    }

    /// The caller's secret keys.
    #[must_use]
    pub fn secret(&self) -> Ring {
        Ring { path: self.folder.join("pgp-secret"), mode: 0o600 }
    }

    /// The public keys of everybody on this host, which root keeps.
    #[must_use]
    pub fn global(&self) -> Ring {
        Ring { path: self.global.clone(), mode: 0o644 }
    }
}

/// One file of keys. A file that is not there holds none.
#[derive(Debug)]
pub struct Ring {
    /// Where it is.
    pub path: PathBuf,
    mode: u32,
}

impl Ring {
    /// The keys in it. Those that this program cannot read are passed over, with a warning.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn keys<K: Deserializable>(&self) -> Outcome<Vec<K>> {
        let (keys, unreadable) = parse(&self.bytes()?);
        if unreadable > 0 {
            message::warning(format!("{} has {unreadable} keys that cannot be read", shown(&self.path)));
        }
        Ok(keys)
    }

    /// Adds keys behind the others, unless the ring has the same ones already, and says how many were added.
    ///
    /// # Errors
    /// The file cannot be read or written. It is then as it was.
    pub fn add<K: Deserializable + Serialize + Clone>(
        &self,
        new: &[K],
        same: impl Fn(&K, &K) -> bool,
    ) -> Outcome<usize> {
        let adding = || format!("adding keys to {}", shown(&self.path));
        let _alone = self.hold()?;
        let mut bytes = self.bytes()?;
        let (old, _): (Vec<K>, _) = parse(&bytes);
        let mut added: Vec<K> = Vec::new();
        for key in new {
            if !old.iter().chain(&added).any(|known| same(known, key)) {
                key.to_writer(&mut bytes).doing(adding)?;
                added.push(key.clone());
            }
        }
        if !added.is_empty() {
            self.replace(&bytes)?;
        }
        Ok(added.len())
    }

    /// Takes out the keys that `wanted` picks, and says how many there were.
    ///
    /// # Errors
    /// The ring has keys that cannot be read and would get lost, or the file cannot be read or written.
    pub fn remove<K: Deserializable + Serialize>(&self, wanted: impl Fn(&K) -> bool) -> Outcome<usize> {
        let removing = || format!("removing a key from {}", shown(&self.path));
        let _alone = self.hold()?;
        let (mut keys, unreadable): (Vec<K>, _) = parse(&self.bytes()?);
        let before = keys.len();
        keys.retain(|key| !wanted(key));
        if keys.len() == before {
            return Ok(0);
        }
        if unreadable > 0 {
            let text = format!("while {}: it has keys that cannot be read and would get lost", removing());
            return Err(Failure::new(text).hint("remove it with the program that put them there"));
        }
        let mut bytes = Vec::new();
        for key in &keys {
            key.to_writer(&mut bytes).doing(removing)?;
        }
        self.replace(&bytes)?;
        Ok(before - keys.len())
    }

    fn bytes(&self) -> Outcome<Vec<u8>> {
        match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            opened => read(&opened.doing(|| format!("opening {}", shown(&self.path)))?, &self.path),
        }
    }

    /// Waits until nobody else changes rings in the folder, which is made if need be.
    fn hold(&self) -> Outcome<Flock<File>> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let holding = || format!("locking {}", shown(folder));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .doing(|| format!("making {}", shown(folder)))?;
        let folder = File::open(folder).doing(holding)?;
        Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, errno)| errno).doing(holding)
    }

    fn replace(&self, bytes: &[u8]) -> Outcome<()> {
        let writing = || format!("writing {}", shown(&self.path));
        let new = NewFile::beside(&self.path, self.mode)?;
        // Whatever the umask: a ring of the site that only root can read is of no use.
        new.file().set_permissions(Permissions::from_mode(self.mode)).doing(writing)?;
        new.file().write_all(bytes).doing(writing)?;
        new.publish(Existing::Replace).map(drop)
    }
}

/// All of a file of keys.
///
/// # Errors
/// It cannot be read, or is larger than any such file.
pub fn read(file: &File, path: &Path) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(RING_BYTES_MAX + 1).read_to_end(&mut bytes).doing(|| format!("reading {}", shown(path)))?;
    if bytes.len() as u64 > RING_BYTES_MAX {
        return Err(Failure::new(format!("{} is larger than any file of keys", shown(path))));
    }
    Ok(bytes)
}

/// The keys in these bytes, and how many could not be read.
fn parse<K: Deserializable>(bytes: &[u8]) -> (Vec<K>, usize) {
    let Ok(found) = K::from_bytes_many(bytes) else {
        return (Vec::new(), 1);
    };
    let mut keys = Vec::new();
    let mut unreadable = 0;
    for key in found.take(KEYS_MAX) {
        match key {
            Ok(key) => keys.push(key),
            Err(_) => unreadable += 1,
        }
    }
    (keys, unreadable)
}
