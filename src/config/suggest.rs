//! "did you mean".

/// The candidate most like `word`, if one is like it at all.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let likeness = strsim::jaro_winkler(&word, &candidate.to_lowercase());
            let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
            (candidate, likeness, distance)
        })
        .filter(|(_, likeness, distance)| *likeness > 0.83 || (*distance <= 1 && word.len() > 2))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(candidate, ..)| candidate)
}

/// A hint for a word nobody knows: what it may have meant, else all there is.
pub(super) fn hint<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    what: &str,
) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(candidate) = closest(word, candidates.iter().copied()) {
        return format!("did you mean `{candidate}`?");
    }
    if candidates.is_empty() {
        return format!("there are no {what} here");
    }
    format!("{what}: {}", list(&candidates))
}

/// "`a`, `b` and `c`".
pub(super) fn list(items: &[&str]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("`{item}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_likely_word() {
        let keys = ["lr", "epochs", "max_length", "warmup_ratio"];
        assert_eq!(closest("epoch", keys), Some("epochs"));
        assert_eq!(closest("lrr", keys), Some("lr"));
        assert_eq!(closest("max-length", keys), Some("max_length"));
        assert_eq!(closest("template", keys), None);
    }

    #[test]
    fn lists_what_there_is() {
        assert_eq!(hint("x", ["a", "b", "c"], "sets"), "sets: `a`, `b` and `c`");
        assert_eq!(hint("x", [], "sets"), "there are no sets here");
    }
}
