//! What is said of an image or of one of its apps, under the names that the incumbents' JSON has.

use super::Texts;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What is said. What is missing is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// The same of each app, by its name. An app has none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub apps: BTreeMap<String, Attributes>,
    /// Scripts that set variables, by their path in the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Names and values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What `run` runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runscript: String,
    /// What `test` runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub test: String,
    /// What `run-help` prints.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub helpfile: String,
    /// How it was built.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deffile: String,
    /// What an instance runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub startscript: String,
}

/// One thing that is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// The names of the apps.
    Apps,
    /// [`Attributes::deffile`]
    Deffile,
    /// [`Attributes::runscript`]
    Runscript,
    /// [`Attributes::startscript`]
    Startscript,
    /// [`Attributes::test`]
    Test,
    /// [`Attributes::helpfile`]
    Helpfile,
    /// [`Attributes::environment`]
    Environment,
    /// [`Attributes::labels`]
    Labels,
}

impl Section {
    /// Every section, in the order in which they are printed.
    pub const ALL: [Self; 8] = [
        Self::Apps,
        Self::Deffile,
        Self::Runscript,
        Self::Startscript,
        Self::Test,
        Self::Helpfile,
        Self::Environment,
        Self::Labels,
    ];
}

impl Attributes {
    /// What a root directory says.
    pub(crate) fn of(texts: &Texts) -> Self {
        let is_environment = |name: &str| {
            (name.starts_with("10-docker") && name.ends_with(".sh"))
                || (name.starts_with('9') && name.ends_with("-environment.sh"))
        };
        let apps = texts.names("scif/apps").into_iter().filter_map(|app| {
            let folder = format!("scif/apps/{app}/scif");
            let is_app = !texts.names(&folder).is_empty();
            is_app.then(|| (app, Self::below(texts, &folder, |name| name.ends_with("-environment.sh"))))
        });
        let mut attributes =
            Self { apps: apps.collect(), ..Self::below(texts, ".singularity.d", is_environment) };
        attributes.deffile = texts.get(".singularity.d/Singularity").unwrap_or_default();
        attributes
    }

    /// What the files in one folder say.
    fn below(texts: &Texts, folder: &str, is_environment: impl Fn(&str) -> bool) -> Self {
        let text = |name: &str| texts.get(&format!("{folder}/{name}")).unwrap_or_default();
        let scripts = texts.names(&format!("{folder}/env")).into_iter().filter(|name| is_environment(name));
        let environment = scripts.filter_map(|name| {
            let path = format!("{folder}/env/{name}");
            texts.get(&path).map(|text| (format!("/{path}"), text))
        });
        Self {
            apps: BTreeMap::new(),
            environment: environment.collect(),
            labels: labels(&text("labels.json")),
            runscript: text("runscript"),
            test: text("test"),
            helpfile: text("runscript.help"),
            deffile: String::new(),
            startscript: text("startscript"),
        }
    }

    /// These sections alone.
    #[must_use]
    pub fn only(&self, sections: &[Section]) -> Self {
        let mut only = Self::default();
        for section in sections {
            match section {
                Section::Apps => only.apps.clone_from(&self.apps),
                Section::Deffile => only.deffile.clone_from(&self.deffile),
                Section::Runscript => only.runscript.clone_from(&self.runscript),
                Section::Startscript => only.startscript.clone_from(&self.startscript),
                Section::Test => only.test.clone_from(&self.test),
                Section::Helpfile => only.helpfile.clone_from(&self.helpfile),
                Section::Environment => only.environment.clone_from(&self.environment),
                Section::Labels => only.labels.clone_from(&self.labels),
            }
        }
        only
    }

    /// For people: what is not empty, in the order of [`Section::ALL`].
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut words: String = self.apps.keys().map(|app| format!("{app}\n")).collect();
        for text in [&self.deffile, &self.runscript, &self.startscript, &self.test, &self.helpfile] {
            if !text.is_empty() {
                words += &format!("{text}\n");
            }
        }
        words.extend(self.environment.iter().map(|(path, text)| format!("=== {path} ===\n{text}\n\n")));
        words.extend(self.labels.iter().map(|(name, value)| format!("{name}: {value}\n")));
        words
    }
}

/// Labels are texts; what else somebody wrote is taken as it is written.
fn labels(json: &str) -> BTreeMap<String, String> {
    let labels: BTreeMap<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let text = |value: Value| match value {
        Value::String(text) => text,
        value => value.to_string(),
    };
    labels.into_iter().map(|(name, value)| (name, text(value))).collect()
}
