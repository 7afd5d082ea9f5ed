//! `doctor`: what it finds, and what it does not tell.

use serde_json::Value;

use super::fixture::Toy;

fn finding<'a>(said: &'a Value, topic: &str) -> Vec<&'a Value> {
    let findings = said["findings"].as_array().expect("a list");
    findings
        .iter()
        .filter(|found| found["topic"] == topic)
        .collect()
}

#[test]
fn a_machine_is_described() {
    let toy = Toy::new();
    let (said, code) = toy.json(&["doctor", "toy.toml", "--json"]);
    assert_eq!(code, 0, "{said:#}");
    for topic in [
        "version",
        "worker",
        "processors",
        "device",
        "disk",
        "cache",
        "model hub",
    ] {
        assert!(!finding(&said, topic).is_empty(), "{topic}: {said:#}");
    }
    // The toy's worker is a script without a version.
    assert_eq!(finding(&said, "worker")[0]["status"], "warn");
    assert!(!toy.path("cache").exists());
    let shown = toy.run(&["doctor"]);
    assert!(shown.out.contains("processors"), "{}", shown.out);
    assert!(shown.out.contains("help: "), "{}", shown.out);
}

#[test]
fn a_cache_is_looked_through() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml"]);
    std::fs::write(toy.path("cache/quarantine/x"), "").unwrap();
    let left = toy.path("cache/partial/left");
    std::fs::create_dir(&left).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 24 * 3600);
    let dir = std::fs::File::open(&left).unwrap();
    dir.set_modified(long_ago).unwrap();
    let (said, code) = toy.json(&["doctor", "--json"]);
    assert_eq!(code, 0, "{said:#}");
    let found = finding(&said, "cache");
    let text = |value: &Value| value["found"].as_str().unwrap().to_owned();
    assert!(text(found[0]).contains("10 stages"), "{said:#}");
    assert!(text(found[1]).starts_with("1 damaged"), "{said:#}");
    assert!(text(found[2]).starts_with("checkpoints of 1"), "{said:#}");
}

#[test]
fn what_keeps_a_run_from_working_fails() {
    let toy = Toy::new();
    toy.write(
        "moreline.toml",
        "worker = \"gone\"\ncache = \"cache\"\ndevices = [\"cuda:9\"]\n",
    );
    let (said, code) = toy.json(&["doctor", "--json"]);
    assert_eq!((code, &said["exit_code"]), (1, &1.into()));
    assert_eq!(finding(&said, "worker")[0]["status"], "fail");
    assert_eq!(finding(&said, "device")[0]["status"], "fail");
    toy.write("moreline.toml", "wroker = \"gone\"\n");
    let (said, code) = toy.json(&["doctor", "--json"]);
    assert_eq!(code, 1);
    assert_eq!(finding(&said, "site file")[0]["status"], "fail");
}

#[test]
fn endpoints_are_shown_without_secrets_and_asked_only_on_demand() {
    let toy = Toy::new();
    toy.write(
        "moreline.toml",
        "worker = \"worker.sh\"\ncache = \"cache\"\n[endpoint.near]\n\
         url = \"http://user:sEcRet@127.0.0.1:1/v1?k=sEcRet\"\nkey_env = \"NEAR_KEY\"\n",
    );
    let (said, _) = toy.json(&["doctor", "--json"]);
    let found = finding(&said, "endpoint near")[0];
    assert_eq!(found["status"], "warn");
    let text = found["found"].as_str().unwrap();
    assert_eq!(
        text,
        "http://***@127.0.0.1:1/v1?***, key in NEAR_KEY, which is not set"
    );
    let mut command = toy.command(&["doctor", "--json", "--network"]);
    command
        .env("NEAR_KEY", "sEcRet")
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_TOKEN", "sEcRet");
    let output = command.output().unwrap();
    let said = toy.said(&output);
    assert!(!said.out.contains("sEcRet"), "{}", said.out);
    assert!(said.out.contains("(set): no connection"), "{}", said.out);
    assert!(
        said.out.contains("HF_TOKEN set, never asked"),
        "{}",
        said.out
    );
}
