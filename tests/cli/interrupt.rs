use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::fixture::Toy;

#[test]
fn an_interrupt_stops_cleanly_and_says_how_to_go_on() {
    let toy = Toy::new();
    toy.order("hang.sample");
    let mut command = toy.command(&["run", "toy.toml", "--only", "scored"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let started = toy.path("control/pid.sample");
    while !started.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(id.expect("a process id"), Signal::INT).expect("a signal");
    let said = toy.said(&child.wait_with_output().expect("an end"));
    assert_eq!(said.code, 130, "{}", said.err);
    assert!(said.err.contains("press Ctrl-C again"), "{}", said.err);
    assert!(
        said.err.contains("run toy.toml --only scored"),
        "{}",
        said.err
    );
    toy.revoke("hang.sample");
    let (summary, code) = toy.json(&["run", "toy.toml", "--json", "--only", "scored"]);
    assert_eq!(code, 0);
    assert!(summary["stages"].as_array().is_some_and(|s| s.len() == 3));
}
