//! Experiments that are right and experiments that are wrong.

macro_rules! message {
    ($name:ident, $text:expr) => {
        #[test]
        fn $name() {
            insta::assert_snapshot!(crate::config::tests::stage($text));
        }
    };
}

mod formatting;
mod matrices;
mod messages;
mod resolving;
mod schemas;
mod sets;
mod sites;
mod training;

use std::path::PathBuf;

use super::{ConfigErrors, Experiment, LoadOptions, load};

/// Files in a directory that goes away with this.
pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        }
        Self(directory)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn load(&self, set: &[(&str, &str)]) -> Result<Experiment, ConfigErrors> {
        let set = set.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        let options = LoadOptions {
            set: set.collect(),
            smoke: false,
        };
        load(&self.path("a.toml"), &options)
    }

    /// The errors as drawn, the directory's name taken out.
    pub(super) fn errors(&self, set: &[(&str, &str)]) -> String {
        let errors = self.load(set).expect_err("the experiment is wrong");
        self.shown(&errors)
    }

    pub(super) fn shown(&self, errors: &ConfigErrors) -> String {
        let directory = format!("{}/", self.0.path().display());
        errors.render(1000, false).replace(&directory, "")
    }
}

/// Loads one file's text.
pub(super) fn parse(text: &str) -> Experiment {
    let files = Files::new(&[("a.toml", text)]);
    match files.load(&[]) {
        Ok(experiment) => experiment,
        Err(errors) => panic!("{}", files.shown(&errors)),
    }
}

/// What a user sees of one wrong file.
pub(super) fn errors(text: &str) -> String {
    Files::new(&[("a.toml", text)]).errors(&[])
}

const BASE: &str = r#"
[model.base]
source = "m.gguf"
[data.one]
path = "one.json"
[data.two]
path = "two.json"
[prompts.ask]
path = "ask.jsonl"
"#;

fn stage(text: &str) -> String {
    errors(&format!("{text}{BASE}"))
}
