//! A set of variables as a program is started with.

use crate::payload::Text;
use std::collections::BTreeMap;
use std::ffi::CString;

/// Names and values; values are any bytes but NUL.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(in crate::init) struct Environment(BTreeMap<Text, Text>);

impl Environment {
    /// The value of a variable.
    pub(in crate::init) fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.0.get(name.as_ref()).map(Vec::as_slice)
    }

    /// Sets a variable.
    pub(in crate::init) fn set(&mut self, name: impl Into<Text>, value: impl Into<Text>) {
        self.0.insert(name.into(), value.into());
    }

    /// Removes a variable.
    pub(in crate::init) fn unset(&mut self, name: impl AsRef<[u8]>) {
        self.0.remove(name.as_ref());
    }

    /// All variables, by name.
    pub(in crate::init) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// As the kernel wants them; what a C string cannot hold is left out.
    pub(in crate::init) fn to_c_strings(&self) -> Vec<CString> {
        self.iter().filter_map(|(name, value)| CString::new([name, b"=", value].concat()).ok()).collect()
    }
}

impl<N: Into<Text>, V: Into<Text>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
