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

/// A set of rows in the published form, checked before anything runs.
fn with_rows(toy: &Toy, rows: &str) {
    toy.write("helpful.jsonl", rows);
}

const RUN: [&str; 2] = ["run", "toy.toml"];

shows!(
    scores_and_texts_of_different_lengths,
    |toy| with_rows(toy, "{\"text\":[\"a\",\"b\"],\"score\":[1,0,2]}\n"),
    RUN
);

shows!(
    scores_that_are_not_finite,
    |toy| with_rows(
        toy,
        "{\"text\":[\"a\",\"b\"],\"score\":[NaN,0]}\n\
         {\"text\":[\"a\",\"b\"],\"score\":[1,-Infinity]}\n\
         {\"text\":[\"a\",\"b\"],\"score\":[1e999,0]}\n"
    ),
    RUN
);

shows!(
    fewer_than_two_responses,
    |toy| with_rows(toy, "{\"text\":[\"a\"],\"score\":[1]}\n"),
    RUN
);

shows!(
    nothing_but_ties,
    |toy| with_rows(toy, "{\"text\":[\"a\",\"b\"],\"score\":[1,1]}\n"),
    RUN
);

shows!(
    a_truncated_safetensors_file,
    |toy| {
        let file = toy.path("model/model.safetensors");
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(file, &bytes[..bytes.len() - 2]).unwrap();
    },
    RUN
);

shows!(
    a_truncated_safetensors_header,
    |toy| {
        let file = toy.path("model/model.safetensors");
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(file, &bytes[..20]).unwrap();
    },
    RUN
);

/// Promises 2^60 tensors in a file of 32 bytes.
fn lying_gguf() -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((1u64 << 60).to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend([0; 8]);
    bytes
}

shows!(
    a_lying_gguf_header,
    |toy| {
        std::fs::write(toy.path("model.gguf"), lying_gguf()).unwrap();
        let text = include_str!("toy.toml").replace("\"model\"\n", "\"model.gguf\"\n");
        toy.write("toy.toml", &text);
    },
    RUN
);

shows!(
    duplicate_names,
    |toy| {
        let text = format!(
            "{}\n[data.base]\npath = \"harmless.jsonl\"\n\n[stage.sample]\nkind = \"generate\"\n",
            include_str!("toy.toml")
        );
        toy.write("toy.toml", &text);
    },
    RUN
);

// Rows, a model and a missing file: all at once.
shows!(
    every_wrong_input_at_once,
    |toy| {
        with_rows(toy, "{\"text\":[\"a\"],\"score\":[1]}\n");
        toy.write("model/config.json", "{\"model_type\": \"llama\"");
        std::fs::remove_file(toy.path("prompts.jsonl")).unwrap();
    },
    RUN
);

#[test]
fn nothing_has_run_when_inputs_are_wrong() {
    let toy = Toy::new();
    with_rows(&toy, "{\"text\":[\"a\"],\"score\":[1]}\n");
    assert_eq!(toy.run(&RUN).code, 2);
    let logs = toy.path("cache/runs");
    let runs = std::fs::read_dir(logs).unwrap();
    for run in runs {
        assert!(!run.unwrap().path().join("logs").exists());
    }
    assert_eq!(
        std::fs::read_dir(toy.path("cache/actions"))
            .unwrap()
            .count(),
        0
    );
}
