//! `fmt`: files on disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::fixture::Toy;

#[test]
fn files_are_formatted_once_and_checked() {
    let toy = Toy::new();
    let ugly = include_str!("toy.toml").replace("title = \"A toy\"", "title='A toy'");
    toy.write("toy.toml", &ugly);
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(toy.path("toy.toml"), mode).unwrap();
    symlink("toy.toml", toy.path("link.toml")).unwrap();
    let said = toy.run(&["fmt", "--check", "link.toml", "moreline.toml"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (1, "link.toml: not in form\n")
    );
    assert_eq!(fs::read_to_string(toy.path("toy.toml")).unwrap(), ugly);
    let said = toy.run(&["fmt", "link.toml"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "link.toml: formatted\n")
    );
    let text = fs::read_to_string(toy.path("toy.toml")).unwrap();
    assert_eq!(text, include_str!("toy.toml"));
    assert!(toy.path("link.toml").is_symlink());
    let mode = fs::metadata(toy.path("toy.toml"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    let said = toy.run(&["fmt", "--check", "toy.toml"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
}

#[test]
fn broken_and_absent_files_are_refused_and_the_rest_is_done() {
    let toy = Toy::new();
    toy.write("broken.toml", "a = [1\nb = 2\n");
    toy.write("ugly.toml", "a=1");
    let said = toy.run(&["fmt", "broken.toml", "ugly.toml"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("broken.toml:2"), "{}", said.err);
    assert_eq!(
        fs::read_to_string(toy.path("broken.toml")).unwrap(),
        "a = [1\nb = 2\n"
    );
    assert_eq!(
        fs::read_to_string(toy.path("ugly.toml")).unwrap(),
        "a = 1\n"
    );
    let said = toy.run(&["fmt", "absent.toml"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("absent.toml"), "{}", said.err);
}

#[test]
fn standard_input_goes_to_standard_output() {
    use std::io::Write;
    let toy = Toy::new();
    let mut child = toy
        .command(&["fmt", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"a=1").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"a = 1\n");
}
