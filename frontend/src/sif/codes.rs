//! The numbers of a SIF and what they stand for. Unknown numbers are kept as they are, never refused here.

use serde::{Deserialize, Serialize};

/// Makes an enum whose members are numbers in the file, with an `Unknown` member that keeps any other number.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $code:literal => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$member_doc])* $member,)*
            /// A number this build has no name for.
            Unknown(i32),
        }

        impl $name {
            /// What the number in the file stands for.
            #[must_use]
            pub fn from_code(code: i32) -> Self {
                match code {
                    $($code => Self::$member,)*
                    other => Self::Unknown(other),
                }
            }

            /// The number in the file.
            #[must_use]
            pub fn code(self) -> i32 {
                match self {
                    $(Self::$member => $code,)*
                    Self::Unknown(code) => code,
                }
            }

            /// The word that listings use.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$member => $text,)*
                    Self::Unknown(_) => "Unknown",
                }
            }

            /// The member that listings call so.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$member),)*
                    _ => None,
                }
            }

            /// Whether this build has a name for the number.
            #[must_use]
            pub fn is_known(self) -> bool {
                !matches!(self, Self::Unknown(_))
            }
        }
    };
}

codes! {
    /// What an object is.
    DataType {
        /// The definition file that the image was built from.
        Definition = 0x4001 => "Def.FILE",
        /// Environment variables; unused in practice.
        Environment = 0x4002 => "Env.Vars",
        /// Labels; unused in practice.
        Labels = 0x4003 => "JSON.Labels",
        /// A file system.
        Partition = 0x4004 => "FS",
        /// A signature over a group.
        Signature = 0x4005 => "Signature",
        /// JSON of any kind.
        Json = 0x4006 => "JSON.Generic",
        /// Anything.
        Generic = 0x4007 => "Generic/Raw",
        /// The wrapped key of an encrypted partition.
        CryptoMessage = 0x4008 => "Cryptographic Message",
        /// A bill of materials.
        Sbom = 0x4009 => "SBOM",
        /// The root index of an OCI-SIF.
        OciRootIndex = 0x400A => "OCI.RootIndex",
        /// A blob of an OCI-SIF.
        OciBlob = 0x400B => "OCI.Blob",
    }
}

codes! {
    /// The file system in a partition.
    FsType {
        /// squashfs
        Squashfs = 1 => "Squashfs",
        /// ext3
        Ext3 = 2 => "Ext3",
        /// An archive of immutable objects.
        ImmutableObjects = 3 => "Archive",
        /// Raw data.
        Raw = 4 => "Raw",
        /// A squashfs inside a LUKS2 volume.
        EncryptedLuks = 5 => "Encrypted squashfs",
        /// A squashfs inside gocryptfs inside a squashfs.
        EncryptedGocryptfs = 6 => "Gocryptfs squashfs",
    }
}

codes! {
    /// What a partition is for.
    PartitionType {
        /// A root file system that is not the one to run.
        System = 1 => "System",
        /// The root file system to run; at most one.
        PrimarySystem = 2 => "*System",
        /// Data.
        Data = 3 => "Data",
        /// A layer over the root file system.
        Overlay = 4 => "Overlay",
    }
}

codes! {
    /// The hash a signature was made with.
    HashType {
        /// SHA-256
        Sha256 = 1 => "SHA-256",
        /// SHA-384
        Sha384 = 2 => "SHA-384",
        /// SHA-512
        Sha512 = 3 => "SHA-512",
        /// BLAKE2s-256
        Blake2s256 = 4 => "BLAKE2s-256",
        /// BLAKE2b-256
        Blake2b256 = 5 => "BLAKE2b-256",
    }
}

codes! {
    /// How a cryptographic message is written.
    MessageFormat {
        /// OpenPGP
        OpenPgp = 1 => "OpenPGP",
        /// PEM
        Pem = 2 => "PEM",
    }
}

codes! {
    /// What a cryptographic message holds.
    MessageType {
        /// A signed text.
        ClearSignature = 0x100 => "Clear Signature",
        /// A key wrapped by RSA-OAEP.
        RsaOaep = 0x200 => "RSA-OAEP",
    }
}

codes! {
    /// How a bill of materials is written.
    SbomFormat {
        /// CycloneDX in JSON
        CycloneDxJson = 1 => "cyclonedx-json",
        /// CycloneDX in XML
        CycloneDxXml = 2 => "cyclonedx-xml",
        /// GitHub's JSON
        GitHubJson = 3 => "github-json",
        /// SPDX in JSON
        SpdxJson = 4 => "spdx-json",
        /// SPDX in RDF
        SpdxRdf = 5 => "spdx-rdf",
        /// SPDX as tags and values
        SpdxTagValue = 6 => "spdx-tag-value",
        /// SPDX in YAML
        SpdxYaml = 7 => "spdx-yaml",
        /// Syft's JSON
        SyftJson = 8 => "syft-json",
    }
}

/// A processor architecture, by the two digits a SIF uses for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Arch([u8; 2]);

/// Go's name, the two digits, and Rust's name where Rust has one.
const ARCHITECTURES: [(&str, [u8; 2], &str); 13] = [
    ("386", *b"01", "x86"),
    ("amd64", *b"02", "x86_64"),
    ("arm", *b"03", "arm"),
    ("arm64", *b"04", "aarch64"),
    ("ppc64", *b"05", ""),
    ("ppc64le", *b"06", "powerpc64"),
    ("mips", *b"07", ""),
    ("mipsle", *b"08", "mips"),
    ("mips64", *b"09", ""),
    ("mips64le", *b"10", "mips64"),
    ("s390x", *b"11", "s390x"),
    ("riscv64", *b"12", "riscv64"),
    ("loong64", *b"13", "loongarch64"),
];

impl Arch {
    /// No architecture is named.
    pub const NONE: Self = Self(*b"00");
    /// x86-64
    pub const AMD64: Self = Self(*b"02");
    /// 64-bit Arm
    pub const ARM64: Self = Self(*b"04");

    /// The architecture with these two bytes of a SIF, whatever they are.
    #[must_use]
    pub fn from_digits(digits: [u8; 2]) -> Self {
        Self(digits)
    }

    /// The architecture with this number, which is what its digits say.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let digits = [b'0' + (number / 10) % 10, b'0' + number % 10];
        Some(Self(digits)).filter(|arch| number < 100 && arch.is_known())
    }

    /// The two bytes in the file.
    #[must_use]
    pub fn digits(self) -> [u8; 2] {
        self.0
    }

    /// The architecture that Go, the incumbents and `--arch` call so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ARCHITECTURES.iter().find(|(go, _, _)| *go == name).map(|(_, digits, _)| Self(*digits))
    }

    /// The name that Go and the incumbents use; `unknown` for digits nobody has assigned.
    #[must_use]
    pub fn name(self) -> &'static str {
        ARCHITECTURES.iter().find(|(_, digits, _)| *digits == self.0).map_or("unknown", |(go, _, _)| go)
    }

    /// Whether the digits are assigned to an architecture.
    #[must_use]
    pub fn is_known(self) -> bool {
        self.name() != "unknown"
    }

    /// The architecture this program was built for.
    #[must_use]
    pub fn host() -> Self {
        let host = std::env::consts::ARCH;
        ARCHITECTURES
            .iter()
            .find(|(_, _, rust)| *rust == host)
            .map_or(Self::NONE, |(_, digits, _)| Self(*digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back_as_itself_known_or_not() {
        for code in -2..0x4010 {
            assert_eq!(DataType::from_code(code).code(), code);
            assert_eq!(FsType::from_code(code).code(), code);
            assert_eq!(PartitionType::from_code(code).code(), code);
            assert_eq!(HashType::from_code(code).code(), code);
            assert_eq!(MessageFormat::from_code(code).code(), code);
            assert_eq!(MessageType::from_code(code).code(), code);
            assert_eq!(SbomFormat::from_code(code).code(), code);
            let format = SbomFormat::from_code(code);
            assert_eq!(SbomFormat::from_name(format.name()), Some(format).filter(|format| format.is_known()));
        }
        assert_eq!(FsType::from_code(9), FsType::Unknown(9));
    }

    #[test]
    fn architectures_have_the_names_the_incumbents_print() {
        assert_eq!(Arch::from_digits(*b"02").name(), "amd64");
        assert_eq!(Arch::from_name("riscv64"), Some(Arch::from_digits(*b"12")));
        assert_eq!(Arch::from_digits(*b"99").name(), "unknown");
        assert_eq!(Arch::from_number(13), Arch::from_name("loong64"));
        assert_eq!((Arch::from_number(0), Arch::from_number(102)), (None, None));
        assert!(!Arch::NONE.is_known());
        assert!(Arch::host().is_known());
    }
}
