//! Text inside HTML and SVG.

use std::fmt::Write as _;

/// The text with everything escaped that means something in HTML or SVG, in
/// content and in quoted attributes. Control characters become visible
/// symbols, and marks that reverse the direction of text the replacement
/// character, so that a hostile text can neither break nor reorder the page.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(visible(c)),
        }
    }
    out
}

/// The character itself, or a visible stand-in for one that a page must not hold.
pub(super) fn visible(c: char) -> char {
    match u32::from(c) {
        0x09 | 0x0a => c,
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap_or('\u{fffd}'),
        0x7f => '\u{2421}',
        0x80..=0x9f | 0x202a..=0x202e | 0x2066..=0x2069 | 0xfffe | 0xffff => '\u{fffd}',
        _ => c,
    }
}

/// Appends `<name attributes>text</name>` with the text escaped. `attributes`
/// is markup of our own, with its leading blank.
pub(super) fn element(out: &mut String, name: &str, attributes: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, "<{name}{attributes}>{}</{name}>", escape(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        assert_eq!(
            escape(r#"<b a="x" b='y'>&amp;</b>"#),
            "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;&lt;/b&gt;"
        );
    }

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(
            escape("a\0b\u{1b}[1m\tc\nd\r"),
            "a\u{2400}b\u{241b}[1m\tc\nd\u{240d}"
        );
        assert_eq!(escape("\u{202e}evil\u{fffe}"), "\u{fffd}evil\u{fffd}");
    }
}
