//! What a remote judge's calls cost: shown where tokens are, and keyed nowhere.

use std::fs;

use serde_json::{Value, json};

use super::fixture::Toy;
use crate::judge_server::{Reply, Server};

const JUDGE: &str = "
[stage.asked]
kind = \"judge\"
a = \"answers\"
b = \"sample\"
endpoint = \"far\"
judge_model = \"big\"
";

/// A toy whose `asked` is judged by a server, at these prices.
fn toy(server: &Server, money: &str) -> Toy {
    let toy = Toy::new();
    let experiment = fs::read_to_string(toy.path("toy.toml")).expect("an experiment");
    toy.write("toy.toml", &format!("{experiment}{JUDGE}"));
    set_prices(&toy, server, money);
    toy
}

fn set_prices(toy: &Toy, server: &Server, money: &str) {
    let site = "worker = \"worker.sh\"\ncache = \"cache\"\n[endpoint.far]\nconcurrency = 1\n";
    toy.write(
        "moreline.toml",
        &format!("{site}url = \"{}\"\n{money}", server.url),
    );
}

/// Every call takes 8 tokens and gives 2.
fn server() -> Server {
    Server::start(|_, _| Reply::Counted("[[A]]".into()))
}

const PRICES: &str = "price_in = 1000\nprice_out = 6000\ncurrency = \"EUR\"\n";

/// What the run that fits paid. Runs of one second are in any order.
fn costs(toy: &Toy, fits: impl Fn(&Value) -> bool) -> Value {
    let (list, _) = toy.json(&["runs", "list", "--json"]);
    let mut runs = list["runs"].as_array().expect("runs").iter();
    runs.find(|run| fits(run)).expect("a run")["costs"].clone()
}

#[test]
fn costs_are_shown_and_prices_rerun_nothing() {
    let server = server();
    let toy = toy(&server, PRICES);
    let said = toy.run(&["run", "toy.toml", "--only", "asked"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(server.received().len(), 2);
    let list = toy.run(&["runs", "list"]).out;
    assert!(list.trim_end().ends_with("0.0400 EUR"), "{list}");
    let shown = toy.run(&["runs", "show", "latest"]).out;
    assert!(shown.contains("2 calls, 20 tokens, 0.0400 EUR"), "{shown}");
    let (list, _) = toy.json(&["runs", "list", "--json"]);
    assert_eq!(list["runs"][0]["costs"][0]["currency"], "EUR");
    let (shown, _) = toy.json(&["runs", "show", "latest", "--json"]);
    let stages = shown["stages"].as_array().expect("stages");
    let asked = stages.iter().find(|stage| stage["name"] == "asked");
    let asked = asked.expect("the judge");
    assert_eq!(asked["api"]["cost"]["amount"], 0.04);
    assert!(!asked["metrics"].to_string().contains("0.04"), "{asked}");
    let verdicts = fs::read_to_string(toy.path("outputs/toy/asked/verdicts.jsonl"));
    assert!(!verdicts.expect("verdicts").contains("EUR"));

    set_prices(
        &toy,
        &server,
        "price_in = 7\nprice_out = 8\nmoney_limit = 0.001\n",
    );
    let plan = ["plan", "toy.toml", "--only", "asked", "--exit-code"];
    assert_eq!(toy.run(&plan).code, 0);
    let (summary, code) = toy.json(&["run", "toy.toml", "--only", "asked", "--json"]);
    assert_eq!(code, 0);
    let stages = summary["stages"].as_array().expect("stages");
    assert!(stages.iter().all(|stage| stage["state"] == "cached"));
    assert_eq!(server.received().len(), 2);
    // What an earlier run paid this one did not.
    let costs = costs(&toy, |run| run["ran"] == 0);
    assert_eq!(costs, json!([]));
}

#[test]
fn a_stage_stopped_at_the_limit_goes_on_once_it_is_higher() {
    let server = server();
    let toy = toy(&server, &format!("{PRICES}money_limit = 0.01\n"));
    let run = ["run", "toy.toml", "--only", "asked"];
    let said = toy.run(&run);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("`money_limit` of 0.0100"), "{}", said.err);
    assert_eq!(server.received().len(), 1);
    set_prices(&toy, &server, &format!("{PRICES}money_limit = 1\n"));
    assert_eq!(toy.run(&run).code, 0);
    assert_eq!(server.received().len(), 2);
    let costs = costs(&toy, |run| run["state"] == "complete");
    assert_eq!(costs[0]["amount"], 0.04);
}
