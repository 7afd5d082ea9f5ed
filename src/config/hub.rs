//! `hf:organisation/name@revision`, and `hf:datasets/organisation/name@revision/file`.

use super::experiment::HubFile;

/// The repository and the revision (`main` if none is named) of the part after
/// `hf:`.
pub(super) fn parse(text: &str) -> Result<(String, String), String> {
    let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
    match repo.split_once('/') {
        Some((organisation, name)) if word(organisation) && word(name) => {}
        _ => return Err(format!("`{repo}` is not the name of a model on the hub")),
    }
    if !revision.split('/').all(word) {
        return Err(format!("`{revision}` is not a branch, tag or commit"));
    }
    Ok((repo.into(), revision.into()))
}

/// The file of a data set of the part after `hf:`. Its revision has no slashes:
/// they belong to the file.
pub(crate) fn parse_file(text: &str) -> Result<HubFile, String> {
    let wrong = || format!("`{text}` is not the name of a file of a data set on the hub");
    let rest = text.strip_prefix("datasets/").ok_or_else(wrong)?;
    let mut parts = rest.splitn(3, '/');
    let (Some(organisation), Some(name), Some(file)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    if ![organisation, name, revision].into_iter().all(word) || !file.split('/').all(word) {
        return Err(wrong());
    }
    Ok(HubFile {
        repo: format!("{organisation}/{name}"),
        revision: revision.into(),
        file: file.into(),
    })
}

fn word(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= 96
        && !part.starts_with('.')
        && part
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_files_of_data_sets() {
        let file = |repo: &str, revision: &str, file: &str| HubFile {
            repo: repo.into(),
            revision: revision.into(),
            file: file.into(),
        };
        let parsed = parse_file("datasets/a/b/c/d.jsonl.gz");
        assert_eq!(parsed, Ok(file("a/b", "main", "c/d.jsonl.gz")));
        let parsed = parse_file("datasets/a/b@v1/d.json").unwrap();
        assert_eq!(parsed, file("a/b", "v1", "d.json"));
        assert_eq!(parsed.to_string(), "hf:datasets/a/b@v1/d.json");
        for bad in [
            "a/b/c.json",
            "datasets/a/b",
            "datasets/a/b/",
            "datasets/a/b/../c",
            "datasets/a/b@/c",
            "datasets//b/c",
            "datasets/a/b/c?d",
        ] {
            assert!(parse_file(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_repository_and_revision() {
        assert_eq!(parse("a/b"), Ok(("a/b".into(), "main".into())));
        assert_eq!(parse("a/b.c@v1.0"), Ok(("a/b.c".into(), "v1.0".into())));
        assert_eq!(parse("a/b@pr/1"), Ok(("a/b".into(), "pr/1".into())));
        for bad in [
            "a", "/b", "a/", "a/b/c", "a/b@", "a/../b", "a/..", "a/b@../x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
