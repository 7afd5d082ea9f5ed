//! `hf:organisation/name@revision`.

/// The repository and the revision (`main` if none is named) of the part after
/// `hf:`.
pub(super) fn parse(text: &str) -> Result<(String, String), String> {
    let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
    let word = |part: &str| {
        !part.is_empty()
            && part.len() <= 96
            && !part.starts_with('.')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    match repo.split_once('/') {
        Some((organisation, name)) if word(organisation) && word(name) => {}
        _ => return Err(format!("`{repo}` is not the name of a model on the hub")),
    }
    if !revision.split('/').all(word) {
        return Err(format!("`{revision}` is not a branch, tag or commit"));
    }
    Ok((repo.into(), revision.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
