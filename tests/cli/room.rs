//! Cleaning, pinning, and site files that name caches of others.

use super::fixture::Toy;

#[test]
fn pinned_results_survive_any_cleaning() {
    let toy = Toy::new();
    assert_eq!(toy.run(&["run", "toy.toml"]).code, 0);
    let said = toy.run(&["cache", "pin", "rm:more", "--file", "toy.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.starts_with("pinned: rm:more, "), "{}", said.out);
    let (pins, code) = toy.json(&["cache", "pins", "--json"]);
    assert_eq!((pins[0]["stage"].as_str(), code), (Some("rm:more"), 0));
    let (size, _) = toy.json(&["cache", "size", "--json"]);
    assert!(size["pinned_bytes"].as_u64() > Some(0), "{size}");
    let (told, _) = toy.json(&["cache", "gc", "--max-size", "0", "--dry-run", "--json"]);
    let (gone, code) = toy.json(&["cache", "gc", "--max-size", "0", "--json"]);
    assert_eq!((gone["records"].as_u64(), code), (Some(9), 0), "{gone}");
    assert_eq!(told, gone);
    assert_eq!(
        toy.run(&["plan", "toy.toml", "--only", "rm:more"]).out,
        "rm:more  train-reward  cached  up to date\n1 cached\n"
    );
    let digits = &pins[0]["key"].as_str().unwrap()[..8];
    let said = toy.run(&["cache", "unpin", digits]);
    assert!(said.out.starts_with("unpinned: rm:more, "), "{}", said.out);
    let said = toy.run(&["cache", "gc", "--max-size", "0"]);
    assert!(said.out.contains("removed 1 result, "), "{}", said.out);
    assert!(said.out.contains("the rest is pinned"), "{}", said.out);
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_way_out() {
    let toy = Toy::new();
    toy.run(&["run", "toy.toml", "--only", "rm:more"]);
    let said = toy.run(&["cache", "pin", "rm:more"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("with --file"), "{}", said.err);
    for arguments in [["--max-size", "5 apples"], ["--max-age", "30"]] {
        let said = toy.run(&[&["cache", "gc"][..], &arguments].concat());
        assert_eq!(said.code, 2);
        assert!(said.err.contains("is no unit of"), "{}", said.err);
    }
}

#[test]
fn wrong_cache_layers_are_pointed_at() {
    for (text, wanted) in [
        ("url = \"ftp://x/y\"", "`ftp` is no kind of cache layer"),
        (
            "url = \"s3://key:secret@b/x\"",
            "does not begin with the plain name of a bucket",
        ),
        (
            "url = \"shared\"\nmode = \"write\"",
            "`mode` cannot be `write`",
        ),
        ("mode = \"read\"", "needs `url`"),
        (
            "url = \"shared\"\nsecret = \"x\"",
            "`secret` is not a setting",
        ),
    ] {
        let toy = Toy::new();
        let site = format!("worker = \"worker.sh\"\ncache = \"cache\"\n[[cache_layers]]\n{text}\n");
        toy.write("moreline.toml", &site);
        let said = toy.run(&["plan", "toy.toml"]);
        assert_eq!(said.code, 2, "{}", said.out);
        assert!(said.err.contains(wanted), "{}", said.err);
        assert!(said.err.contains("moreline.toml:"), "{}", said.err);
    }
}

#[test]
fn a_layers_folder_is_relative_to_the_site_file() {
    let toy = Toy::new();
    let site = "worker = \"worker.sh\"\ncache = \"cache\"\n\
        [[cache_layers]]\nurl = \"shared\"\nmode = \"read-write\"\n";
    toy.write("moreline.toml", site);
    assert_eq!(toy.run(&["run", "toy.toml", "--only", "rm:more"]).code, 0);
    assert!(toy.path("shared/actions").is_dir());
    std::fs::remove_dir_all(toy.path("cache")).unwrap();
    let plan = ["plan", "toy.toml", "--only", "rm:more"];
    assert!(toy.run(&plan).out.contains("1 run"));
    let said = toy.run(&[&plan[..], &["--remote"]].concat());
    assert!(
        said.out.contains("to be fetched from DIR/shared"),
        "{}",
        said.out
    );
    let (summary, _) = toy.json(&["run", "toy.toml", "--only", "rm:more", "--json"]);
    assert_eq!(summary["stages"][0]["state"], "cached");
}
