//! URLs without what they may hold of secrets.
//!
//! User names, passwords, queries and fragments are where keys are put. A URL
//! that does not parse is treated the same, by its text alone: what cannot be
//! told apart is left out. Every URL that is shown, logged or kept goes through
//! here.

use std::borrow::Cow;
use std::ops::Range;

/// What stands in for what was taken out.
const HIDDEN: &str = "***";

/// A text that is meant as one URL, without credentials, query and fragment,
/// and without control characters.
pub(crate) fn url(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let hidden = secrets(&text);
    let mut shown = String::new();
    let mut from = 0;
    for range in hidden {
        shown.push_str(&text[from..range.start]);
        shown.push_str(HIDDEN);
        from = range.end;
    }
    shown.push_str(&text[from..]);
    shown
}

/// Any text with every URL in it treated like [`url`].
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    let mut from = 0;
    for range in urls(text) {
        shown.push_str(&text[from..range.start]);
        shown.push_str(&url(&text[range.clone()]));
        from = range.end;
    }
    shown.push_str(&text[from..]);
    Cow::Owned(shown)
}

/// The same text with the secret bytes of every URL overwritten one by one, so
/// that places in it stay where they are.
pub(crate) fn overwrite(text: &str) -> Cow<'_, str> {
    let mut hidden = Vec::new();
    for range in urls(text) {
        let found = secrets(&text[range.clone()]);
        hidden.extend(
            found
                .into_iter()
                .map(|r| r.start + range.start..r.end + range.start),
        );
    }
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(starred(text, &hidden))
}

/// A text with some ranges replaced by as many bytes of stars.
pub(crate) fn starred(text: &str, hidden: &[Range<usize>]) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for range in hidden {
        shown.push_str(&text[from..range.start]);
        shown.extend(std::iter::repeat_n('*', range.len()));
        from = range.end;
    }
    shown.push_str(&text[from..]);
    shown
}

/// Where URLs are in a text: words with `://` in them.
fn urls(text: &str) -> Vec<Range<usize>> {
    let ends = |c: char| c.is_whitespace() || c.is_control();
    let mut found = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        if ends(c) {
            if text[start..at].contains("://") {
                found.push(start..at);
            }
            start = at + c.len_utf8();
        }
    }
    found
}

/// The ranges of a URL that may be secret, in order.
fn secrets(url: &str) -> Vec<Range<usize>> {
    let start = url.find("://").map_or(0, |at| at + 3);
    let cut = url[start..].find(['?', '#']).map(|at| start + at);
    let at = url[start..].rfind('@').map(|at| start + at);
    match (at, cut) {
        // A password with a `?` in it, or an address in the query: which of
        // the two cannot be told.
        (Some(at), Some(cut)) if at > cut => std::iter::once(start..url.len()).collect(),
        (at, cut) => {
            let user = at.map(|at| start..at);
            let query = cut.map(|cut| cut + 1..url.len());
            let found = user.into_iter().chain(query);
            found.filter(|range| !range.is_empty()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// URLs as they should not be written, each with `sEcRet` where a secret is.
    const HOSTILE: [&str; 22] = [
        "http://sEcRet@host/v1",
        "http://user:sEcRet@host/v1",
        "http://user:p@sEcRet@host/v1",
        "http://user:p/sEcRet@host/v1",
        "http://user:p?sEcRet@host/v1",
        "http://user:p#sEcRet@host/v1",
        "http://user:p?x@sEcRet@host",
        "http://host/v1?token=sEcRet",
        "http://host/v1?a=b@c&token=sEcRet",
        "http://host/v1?token=x@sEcRet",
        "http://host/v1#sEcRet",
        "http://host/v1?#sEcRet",
        "http:user:sEcRet@host",
        "http:/user:sEcRet@host",
        "http:\\\\user:sEcRet@host",
        "user:sEcRet@host:80/v1",
        "://user:sEcRet@host",
        "http://http://user:sEcRet@host",
        "http://[user:sEcRet@::1/v1",
        "http://us\u{e9}r:sEcRet@h\u{f6}st/",
        "http://user:sEcRet@",
        "ht tp://user:sEcRet@host",
    ];

    #[test]
    fn no_secret_of_a_url_is_shown() {
        for hostile in HOSTILE {
            let shown = url(hostile);
            assert!(!shown.contains("sEcRet"), "{hostile}: {shown}");
            assert!(shown.contains(HIDDEN), "{hostile}: {shown}");
        }
    }

    #[test]
    fn no_secret_in_a_longer_text_is_shown() {
        for hostile in HOSTILE.iter().filter(|url| url.contains("://")) {
            for around in [("`", "` is no URL"), ("see ", ""), ("url = \"", "\"\n")] {
                let line = format!("{}{hostile}{}", around.0, around.1);
                assert!(!text(&line).contains("sEcRet"), "{line}");
                let over = overwrite(&line);
                assert!(!over.contains("sEcRet"), "{line}");
                assert_eq!(over.len(), line.len());
            }
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        assert_eq!(url("http://127.0.0.1:8080/v1"), "http://127.0.0.1:8080/v1");
        assert_eq!(
            url("https://a:b@host:8/v1?k=v"),
            "https://***@host:8/v1?***"
        );
        assert_eq!(url("http://host\u{1b}[31m/"), "http://host[31m/");
        assert_eq!(text("nothing of it"), "nothing of it");
        assert_eq!(overwrite("a = \"b@c?d\""), "a = \"b@c?d\"");
    }
}
