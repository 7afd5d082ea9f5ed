//! What a user reads when something is wrong.

use super::fixture::{FILTERS, Said, Toy};

fn run(toy: &Toy, arguments: &[&str]) -> Said {
    let said = toy.run(arguments);
    assert!(!toy.path("cache/actions").exists() || said.code != 0);
    said
}

macro_rules! shows {
    ($name:ident, $edit:expr, $arguments:expr) => {
        #[test]
        fn $name() {
            let toy = Toy::new();
            let edit: fn(&Toy) = $edit;
            edit(&toy);
            let said = run(&toy, &$arguments);
            insta::with_settings!({filters => FILTERS}, {
                insta::assert_snapshot!(stringify!($name), said.snapshot());
            });
        }
    };
}

shows!(
    several_errors_at_once,
    |toy| {
        let text = include_str!("toy.toml")
            .replace("samples = 2", "sampels = 2")
            .replace("a = \"answers\"", "a = \"answer\"")
            .replace("data = \"best\"", "data = \"answers\"");
        toy.write("toy.toml", &text);
    },
    ["run", "toy.toml"]
);

shows!(
    a_circle,
    |toy| {
        let text = include_str!("toy.toml");
        let text = text.replacen("model = \"base\"\nprompts", "model = \"tuned\"\nprompts", 1);
        toy.write("toy.toml", &text);
    },
    ["plan", "toy.toml"]
);

shows!(no_file, |_| {}, ["run", "nothing.toml"]);

shows!(
    a_wrong_override,
    |_| {},
    ["run", "toy.toml", "--set", "stage.rm.lrr=1"]
);

shows!(
    an_override_without_a_value,
    |_| {},
    ["run", "toy.toml", "--set", "stage.rm.lr"]
);

shows!(an_unknown_command, |_| {}, ["rnu", "toy.toml"]);

shows!(
    a_wrong_site_file,
    |toy| toy.write("moreline.toml", "wroker = \"worker.sh\"\n"),
    ["run", "toy.toml"]
);

shows!(
    missing_inputs,
    |toy| {
        std::fs::remove_file(toy.path("helpful.jsonl")).unwrap();
        std::fs::remove_dir_all(toy.path("model")).unwrap();
    },
    ["run", "toy.toml"]
);

shows!(
    malformed_rows,
    |toy| {
        toy.write(
            "helpful.jsonl",
            "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}\n{\"prompt\":\n",
        );
        toy.write("harmless.jsonl", "");
    },
    ["run", "toy.toml"]
);

shows!(
    an_unknown_stage,
    |_| {},
    ["run", "toy.toml", "--only", "verdikt"]
);

shows!(
    no_worker,
    |toy| toy.write("moreline.toml", "worker = \"gone.sh\"\ncache = \"cache\"\n"),
    ["run", "toy.toml", "--only", "sample"]
);
