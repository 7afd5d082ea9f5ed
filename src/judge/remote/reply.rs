//! Reading a judge's reply.

use moreline_protocol::rows::Verdict;

/// The verdict for side A: what stands alone on the reply's last line that is
/// not blank, `[[A]]`, `[[B]]` or `[[C]]`. Anything else is unparsed; no
/// verdict is guessed from running text.
pub(crate) fn verdict(reply: &str, a_first: bool) -> Verdict {
    let last = reply.trim_end().lines().next_back().map(str::trim);
    match (last, a_first) {
        (Some("[[C]]"), _) => Verdict::Tie,
        (Some("[[A]]"), true) | (Some("[[B]]"), false) => Verdict::Win,
        (Some("[[B]]"), true) | (Some("[[A]]"), false) => Verdict::Loss,
        _ => Verdict::Unparsed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_of_its_own_at_the_end_counts() {
        assert_eq!(verdict("Because.\n[[A]]", true), Verdict::Win);
        assert_eq!(
            verdict("[[A]] was my first thought\n\n [[B]] \n", true),
            Verdict::Loss
        );
        assert_eq!(verdict("[[A]]", false), Verdict::Loss);
        assert_eq!(verdict("[[B]]", false), Verdict::Win);
        assert_eq!(verdict("[[C]]", false), Verdict::Tie);
        for unclear in [
            "",
            "[[D]]",
            "A",
            "I choose [[A]]",
            "[[A]]\nOr not?",
            "[[a]]",
            "[[A]] [[B]]",
        ] {
            assert_eq!(verdict(unclear, true), Verdict::Unparsed, "{unclear}");
        }
    }
}
