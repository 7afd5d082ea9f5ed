//! `check`: everything that is wrong, in one round; and what never is shown.

use super::fixture::{FILTERS, Said, Toy};

/// An unknown key, a missing file and a malformed row.
fn three_mistakes(toy: &Toy) {
    let text = include_str!("toy.toml").replace("samples = 2", "sampels = 2");
    toy.write("toy.toml", &text);
    toy.write(
        "helpful.jsonl",
        "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}\n{\"prompt\":\n",
    );
    std::fs::remove_file(toy.path("prompts.jsonl")).unwrap();
}

#[test]
fn the_file_its_inputs_and_the_site_are_told_in_one_round() {
    let toy = Toy::new();
    three_mistakes(&toy);
    toy.write("moreline.toml", "cache = \"cache\"\ndevices = [\"gpu\"]\n");
    let told = toy.run(&["run", "toy.toml"]);
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("one_round", told.snapshot());
    });
    assert!(!toy.path("cache").exists());
    let checked = toy.run(&["check", "toy.toml"]);
    assert_eq!((checked.code, checked.err), (told.code, told.err));
}

#[test]
fn the_stage_with_the_mistake_may_be_the_only_one_that_names_the_files() {
    let toy = Toy::new();
    toy.write(
        "one.toml",
        "[model.base]\nsource = \"gone\"\n[data.d]\npath = \"helpful.jsonl\"\nlimt = 1\n\
         [stage.rm]\nkind = \"train-reward\"\nmodel = \"base\"\ndata = [\"d\", \"e\"]\nlr = \"x\"\n",
    );
    toy.write("helpful.jsonl", "{\"text\":[\"a\"],\"score\":[1]}\n");
    let (checked, code) = toy.json(&["check", "one.toml", "--json"]);
    assert_eq!(code, 2);
    let problems = checked["files"][0]["problems"].as_array().unwrap();
    let messages: Vec<&str> = problems
        .iter()
        .map(|p| p["message"].as_str().unwrap())
        .collect();
    let told = |what: &str| messages.iter().any(|message| message.contains(what));
    for what in [
        "`limt`",
        "`lr` takes",
        "called `e`",
        "gone does not exist",
        "holds 1",
    ] {
        assert!(told(what), "{what}: {messages:#?}");
    }
    assert_eq!(messages.len(), 5, "{messages:#?}");
}

#[test]
fn places_are_given_to_scripts() {
    let toy = Toy::new();
    three_mistakes(&toy);
    toy.write("other.toml", include_str!("toy.toml"));
    let said = toy.run(&["check", "toy.toml", "other.toml", "moreline.toml", "--json"]);
    assert_eq!(said.code, 2);
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("check_json", said.out);
    });
}

#[test]
fn what_is_right_is_said_to_be() {
    let toy = Toy::new();
    let said = toy.run(&["check", "toy.toml", "moreline.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(
        said.out,
        "toy.toml: all right, 10 stages\nmoreline.toml: all right\n"
    );
    assert!(!toy.path("cache").exists());
    std::fs::remove_file(toy.path("prompts.jsonl")).unwrap();
    assert_eq!(toy.run(&["check", "toy.toml"]).code, 2);
    assert_eq!(toy.run(&["check", "toy.toml", "--no-inputs"]).code, 0);
    let said = toy.run(&[
        "check",
        "toy.toml",
        "--no-inputs",
        "--set",
        "stage.rm.lrr=1",
    ]);
    assert_eq!(said.code, 2);
}

#[test]
fn a_tokenizer_of_another_model_is_found_before_anything_runs() {
    let toy = Toy::new();
    let vocabulary = r#"{"model": {"type": "BPE", "vocab": {"a": 16}, "merges": []}}"#;
    toy.write("model/tokenizer.json", vocabulary);
    let said = toy.run(&["run", "toy.toml"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("its tokens reach id 16"), "{}", said.err);
}

/// A remote judge, and a site file that says where it is.
fn remote(toy: &Toy, site: &str) {
    let text = include_str!("toy.toml").replace(
        "model = \"rm:uniform\"",
        "endpoint = \"far\"\njudge_model = \"m\"",
    );
    toy.write("toy.toml", &text);
    toy.write(
        "moreline.toml",
        &format!("worker = \"worker.sh\"\ncache = \"cache\"\n{site}"),
    );
}

#[test]
fn no_message_shows_a_secret() {
    let sites = [
        "[endpoint.far]\nurl = \"http://user:sEcRet@[bad/v1\"\n",
        "[endpoint.far]\nurl = \"user:sEcRet@host\"\n",
        "[endpoint.far]\nurl = \"ftp://host/?key=sEcRet\"\n",
        "[endpoint.far]\nretrise = 1\nurl = \"https://user:sEcRet@host/v1?k=sEcRet\"\n",
        "[endpoint.far]\nurl = \"http://host/v1\"\nkey_env = \"sk-sEcRet\"\n",
        "[endpoint.far]\nurl = \"http://host/v1\"\nkey_env = \"sk-sEcRet\"\nretrise = 1\n",
        "[endpoint.far]\nurl = \"https://user:sEcRet@host/v1?k=sEcRet\"\nretries =\n",
    ];
    for site in sites {
        let toy = Toy::new();
        remote(&toy, site);
        for arguments in [
            &["run", "toy.toml"][..],
            &["check", "toy.toml", "moreline.toml"],
            &["run", "toy.toml", "--json"],
            &["doctor", "toy.toml"],
        ] {
            let said = toy.run(arguments);
            assert_ne!(said.code, 0, "{site}");
            assert!(!shows_secret(&said), "{site}\n{}{}", said.out, said.err);
        }
    }
}

#[test]
fn a_judge_that_cannot_be_reached_is_named_without_its_password() {
    let toy = Toy::new();
    remote(
        &toy,
        "[endpoint.far]\nurl = \"http://user:sEcRet@127.0.0.1:1/v1?key=sEcRet\"\nretries = 0\n",
    );
    let said = toy.run(&["run", "toy.toml"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("127.0.0.1:1"), "{}", said.err);
    assert!(!shows_secret(&said), "{}{}", said.out, said.err);
    assert!(!holds(&toy.path("cache"), b"sEcRet"));
    assert!(!holds(&toy.path("outputs"), b"sEcRet"));
}

#[test]
fn a_hub_that_is_no_url_is_named_without_its_password() {
    let toy = Toy::new();
    let text = include_str!("toy.toml").replace("source = \"model\"", "source = \"hf:a/b\"");
    toy.write("toy.toml", &text);
    for url in [
        "http://user:sEcRet@[bad",
        "user:sEcRet@host",
        "ht!tp://h?token=sEcRet",
    ] {
        for arguments in [&["run", "toy.toml"][..], &["doctor", "toy.toml"]] {
            let output = toy
                .command(arguments)
                .env("HF_ENDPOINT", url)
                .output()
                .unwrap();
            let said = toy.said(&output);
            assert_ne!(said.code, 0, "{url}");
            assert!(!shows_secret(&said), "{url}\n{}{}", said.out, said.err);
        }
    }
}

fn shows_secret(said: &Said) -> bool {
    said.out.contains("sEcRet") || said.err.contains("sEcRet")
}

/// True if a file under a directory holds these bytes.
fn holds(directory: &std::path::Path, wanted: &[u8]) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .any(|path| match path.is_dir() {
            true => holds(&path, wanted),
            false => {
                let bytes = std::fs::read(&path).unwrap_or_default();
                bytes.windows(wanted.len()).any(|window| window == wanted)
            }
        })
}
