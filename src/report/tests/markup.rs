//! A small, strict reader of HTML: what it takes is well-formed.

/// One element with its attributes.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
}

/// Every element of a page in order, or what is wrong with it: a tag that is
/// not closed, a stray `<`, `>` or `&`, an attribute without quotes.
pub(super) fn elements(html: &str) -> Result<Vec<Element>, String> {
    let mut rest = html.strip_prefix("<!DOCTYPE html>\n").ok_or("no doctype")?;
    let (mut elements, mut open) = (Vec::new(), Vec::<String>::new());
    while let Some(start) = rest.find('<') {
        text(&rest[..start])?;
        let end = rest.find('>').ok_or("a tag does not end")?;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop().ok_or("nothing to close")?;
            if last != name {
                return Err(format!("</{name}> closes <{last}>"));
            }
            continue;
        }
        let (element, closed) = element(tag)?;
        if element.name == "style" {
            let end = rest.find("</style>").ok_or("style does not end")?;
            rest = &rest[end..];
        }
        if !closed && element.name != "meta" {
            open.push(element.name.clone());
        }
        elements.push(element);
    }
    text(rest)?;
    open.is_empty()
        .then_some(elements)
        .ok_or(format!("left open: {open:?}"))
}

fn element(tag: &str) -> Result<(Element, bool), String> {
    let (tag, closed) = tag
        .strip_suffix('/')
        .map_or((tag, false), |tag| (tag, true));
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(format!("no element: <{tag}>"));
    }
    let mut attributes = Vec::new();
    while !rest.trim().is_empty() {
        let (name, after) = rest
            .trim_start()
            .split_once('=')
            .unwrap_or((rest.trim(), ""));
        if after.is_empty() && name == "open" {
            attributes.push((name.to_owned(), String::new()));
            break;
        }
        let quoted = after
            .strip_prefix('"')
            .and_then(|value| value.split_once('"'));
        let (value, after) = quoted.ok_or_else(|| format!("no quotes: <{tag}>"))?;
        text(value)?;
        attributes.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
    let name = name.to_owned();
    Ok((Element { name, attributes }, closed))
}

/// Text between tags: only known references, nothing that starts a tag.
fn text(text: &str) -> Result<(), String> {
    for part in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        if !known.iter().any(|reference| part.starts_with(reference)) {
            return Err(format!("a stray &: {text:?}"));
        }
    }
    match text
        .chars()
        .find(|c| *c == '>' || (c.is_control() && *c != '\n' && *c != '\t'))
    {
        Some(c) => Err(format!("a stray {c:?}: {text:?}")),
        None => Ok(()),
    }
}

#[test]
fn the_reader_finds_what_is_wrong() {
    for bad in [
        "<p>a",
        "<p>a</b>",
        "<p>a & b</p>",
        "<p x=1></p>",
        "<p>a > b</p>",
        "a < b",
    ] {
        assert!(
            elements(&format!("<!DOCTYPE html>\n{bad}")).is_err(),
            "{bad}"
        );
    }
    assert_eq!(
        elements("<!DOCTYPE html>\n<p x=\"1\">a &lt; b</p>")
            .unwrap()
            .len(),
        1
    );
}
