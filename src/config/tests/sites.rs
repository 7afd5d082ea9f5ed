//! Messages about site files.

use insta::assert_snapshot;

use super::Files;
use crate::config::{Limits, load_site};

/// What is wrong with a site file of this text.
fn wrong(text: &str) -> String {
    let files = Files::new(&[("a.toml", ""), ("moreline.toml", text)]);
    let errors = load_site(&files.path("a.toml"), None, None).expect_err("a wrong file");
    files.shown(&errors)
}

#[test]
fn a_wrong_launcher() {
    assert_snapshot!(wrong("launcher = []\n"));
    assert_snapshot!(wrong("launcher = [\"srun\", \"\", \"--ntasks=1\"]\n"));
    assert_snapshot!(wrong("launcher = \"nice -n 10\"\n"));
}

#[test]
fn wrong_limits() {
    assert_snapshot!(wrong("[limits]\nmemory = 5\n"));
    assert_snapshot!(wrong("[limits]\nmemory_mb = 0\n"));
}

#[test]
fn wrong_prices() {
    let endpoint = |lines: &str| {
        let url = "url = \"http://127.0.0.1:8080/v1\"";
        wrong(&format!("[endpoint.judge]\n{url}\n{lines}\n"))
    };
    assert_snapshot!(endpoint("price_in = 1.5\nmoney_limit = 2.0"));
    assert_snapshot!(endpoint("money_limit = 2.0"));
    assert_snapshot!(endpoint("price_out = 1.5"));
    assert_snapshot!(endpoint("price_in = -1\nprice_out = inf"));
    assert_snapshot!(endpoint("price_in = 1\nprice_out = 1\nmoney_limit = nan"));
}

#[test]
fn half_of_a_layers_credentials() {
    let layer = |lines: &str| wrong(&format!("[[cache_layers]]\n{lines}\n"));
    assert_snapshot!(layer("url = \"s3://b/x\"\nkey_id_env = \"AN_ID\""));
    assert_snapshot!(layer("url = \"s3://b/x\"\nsecret_env = \"A_SECRET\""));
    assert_snapshot!(layer("url = \"s3://b/x\"\ntoken_env = \"A_TOKEN\""));
    assert_snapshot!(layer("url = \"gs://b/x\"\ntoken_env = \"A_TOKEN\""));
    assert_snapshot!(layer("url = \"az://b/x\"\nkey_id_env = \"AN_ID\""));
}

#[test]
fn a_launcher_by_path_starts_from_the_site_file_and_one_by_name_does_not() {
    let text = |program: &str| format!("launcher = [\"{program}\", \"a/b\"]\n");
    let read = |program: &str| {
        let files = Files::new(&[("a.toml", ""), ("moreline.toml", &text(program))]);
        let site = load_site(&files.path("a.toml"), None, None).unwrap();
        let launcher = site.launcher.unwrap();
        assert_eq!(launcher[1], "a/b");
        (
            launcher[0].clone(),
            files.path("tools/start").display().to_string(),
        )
    };
    assert_eq!(read("srun").0, "srun");
    let (found, expected) = read("tools/start");
    assert_eq!(found, expected);
}

#[test]
fn devices_may_share_and_memory_may_be_limited() {
    let text = "devices = [\"cuda:0\", \"cuda:0\"]\n[limits]\nmemory_mb = 100\n";
    let files = Files::new(&[("a.toml", ""), ("moreline.toml", text)]);
    let site = load_site(&files.path("a.toml"), None, None).unwrap();
    assert_eq!(site.devices, ["cuda:0", "cuda:0"]);
    let memory_mb = Some(100);
    assert_eq!(site.limits, Limits { memory_mb });
}
