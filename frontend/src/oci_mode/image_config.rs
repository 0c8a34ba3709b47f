//! The configuration of an OCI image, as far as it says how its processes start.

use crate::error::{Failure, Outcome};
use crate::message::shown;
use crate::payload::{Action, Text};
use crate::sif::Arch;
use serde::Deserialize;
use std::path::Path;

/// What an image says of its processes. No text in it has a NUL byte.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImageConfig {
    /// What its programs run on, where the image says so in a word that is known.
    pub arch: Option<Arch>,
    /// What every process is started with.
    pub entrypoint: Vec<Text>,
    /// What follows it where the user names nothing else.
    pub command: Vec<Text>,
    /// Variables; items without `=` are left out.
    pub environment: Vec<(Text, Text)>,
    /// Where processes start: absolute.
    pub working_directory: Option<Text>,
    /// Who they are: `USER[:GROUP]`, names of the image's or numbers.
    pub user: Option<String>,
}

#[derive(Deserialize)]
struct RawImage {
    architecture: Option<String>,
    config: Option<RawConfig>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawConfig {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
}

impl ImageConfig {
    /// Reads the document of an image; `path` is for messages.
    ///
    /// # Errors
    /// It is no configuration.
    pub fn read(document: &[u8], path: &Path) -> Outcome<Self> {
        let unreadable =
            |why: String| Failure::new(format!("while reading the configuration of {}: {why}", shown(path)));
        let raw: RawImage =
            serde_json::from_slice(document).map_err(|error| unreadable(error.to_string()))?;
        let arch = raw.architecture.and_then(|name| Arch::from_name(&name));
        let raw = raw.config.unwrap_or_default();
        let config = Self {
            arch,
            entrypoint: texts(raw.entrypoint),
            command: texts(raw.cmd),
            environment: raw.env.iter().flatten().filter_map(|item| variable(item)).collect(),
            working_directory: raw.working_dir.filter(|path| path.starts_with('/')).map(String::into_bytes),
            user: raw.user.filter(|user| !user.is_empty()),
        };
        if config.has_nul() {
            return Err(unreadable("a text in it has a NUL byte".into()));
        }
        Ok(config)
    }

    fn has_nul(&self) -> bool {
        let words = self.entrypoint.iter().chain(&self.command).chain(&self.working_directory);
        let variables = self.environment.iter().flat_map(|(name, value)| [name, value]);
        words.chain(variables).any(|text| text.contains(&0))
    }

    /// What an action is for this image: `run` is its entrypoint, with the user's words in place of its command.
    ///
    /// # Errors
    /// There is nothing to run.
    pub fn carry_out(&self, action: Action) -> Outcome<Action> {
        let Action::Run(words) = action else {
            return Ok(action);
        };
        let words = if words.is_empty() { self.command.clone() } else { words };
        let whole: Vec<Text> = self.entrypoint.iter().cloned().chain(words).collect();
        if whole.is_empty() {
            return Err(Failure::new("the image has neither an entrypoint nor a command to run")
                .hint("name a command with 'exec', or start a shell with 'shell'"));
        }
        Ok(Action::Command(whole))
    }
}

fn texts(words: Option<Vec<String>>) -> Vec<Text> {
    words.unwrap_or_default().into_iter().map(String::into_bytes).collect()
}

fn variable(item: &str) -> Option<(Text, Text)> {
    let (name, value) = item.split_once('=')?;
    Some((name.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Outcome<ImageConfig> {
        ImageConfig::read(document.as_bytes(), Path::new("/i.oci.sif"))
    }

    fn words(words: &[&str]) -> Vec<Text> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_configuration_may_say_everything_or_nothing() {
        let full = read(
            r#"{"architecture":"s390x","config":{"User":"www:33","Env":["A=1=2","odd"],"Entrypoint":["/e"],"Cmd":["c"],"WorkingDir":"/w"}}"#,
        );
        let expected = ImageConfig {
            arch: Arch::from_name("s390x"),
            entrypoint: words(&["/e"]),
            command: words(&["c"]),
            environment: vec![(b"A".into(), b"1=2".into())],
            working_directory: Some(b"/w".into()),
            user: Some("www:33".into()),
        };
        assert_eq!(full.unwrap(), expected);
        for empty in ["{}", r#"{"config":null}"#, r#"{"config":{"User":"","Env":null,"WorkingDir":""}}"#] {
            assert_eq!(read(empty).unwrap(), ImageConfig::default(), "{empty}");
        }
    }

    #[test]
    fn what_cannot_be_a_configuration_is_refused() {
        for bad in ["", "[]", r#"{"config":{"Cmd":"sh"}}"#, r#"{"config":{"Env":["A=\u0000"]}}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_users_words_take_the_place_of_the_command_only() {
        let config =
            ImageConfig { entrypoint: words(&["/e"]), command: words(&["c", "d"]), ..Default::default() };
        let run = |given: &[&str]| config.carry_out(Action::Run(words(given))).unwrap();
        assert_eq!(run(&[]), Action::Command(words(&["/e", "c", "d"])));
        assert_eq!(run(&["x"]), Action::Command(words(&["/e", "x"])));
        let exec = Action::Exec(words(&["ls"]));
        assert_eq!(config.carry_out(exec.clone()).unwrap(), exec);
        assert!(ImageConfig::default().carry_out(Action::Run(Vec::new())).is_err());
    }
}
