//! Writes SVG elements.

use std::fmt::Write as _;

use super::super::xml::escape;

/// An SVG being drawn. Classes and attributes are ours; every text is escaped.
pub(super) struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text hangs from its point.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// A pixel coordinate with at most one decimal: finer steps cannot be seen.
fn px(value: f64) -> String {
    let value = if value.is_finite() { value } else { 0.0 };
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" {
        "0".into()
    } else {
        text.into()
    }
}

/// About how wide a text is in the charts' 12-pixel sans-serif face.
pub(super) fn text_width(text: &str) -> f64 {
    6.9 * text.chars().count() as f64
}

/// The text, cut with an ellipsis if it is longer than `most` characters.
pub(super) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.into();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Class of a colour, repeating after the last.
pub(super) fn colour(index: usize) -> String {
    format!("c{}", index % super::COLOURS)
}

impl Canvas {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            body: String::new(),
        }
    }

    fn put(&mut self, args: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.body.write_fmt(args);
    }

    /// Closes an element, with a tooltip if there is one.
    fn close(&mut self, name: &str, tooltip: &str) {
        if tooltip.is_empty() {
            self.body.push_str("/>");
        } else {
            let tooltip = escape(tooltip);
            self.put(format_args!("><title>{tooltip}</title></{name}>"));
        }
    }

    /// A rectangle given by its left upper corner, width and height.
    pub(super) fn rect(&mut self, [x, y, w, h]: [f64; 4], class: &str, tooltip: &str) {
        let (x, y, w, h) = (px(x), px(y), px(w.max(0.0)), px(h.max(0.0)));
        self.put(format_args!(
            r#"<rect x="{x}" y="{y}" width="{w}" height="{h}" class="{class}""#
        ));
        self.close("rect", tooltip);
    }

    pub(super) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(px);
        self.put(format_args!(
            r#"<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{class}"/>"#
        ));
    }

    pub(super) fn circle(&mut self, (x, y): (f64, f64), r: f64, class: &str, tooltip: &str) {
        let [x, y, r] = [x, y, r].map(px);
        self.put(format_args!(
            r#"<circle cx="{x}" cy="{y}" r="{r}" class="{class}""#
        ));
        self.close("circle", tooltip);
    }

    /// A line through points, closed if it is an area.
    pub(super) fn path(&mut self, points: &[(f64, f64)], close: bool, class: &str, tooltip: &str) {
        if points.is_empty() {
            return;
        }
        let mut d = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let letter = if i == 0 { 'M' } else { 'L' };
            let _ = write!(d, "{letter}{} {}", px(*x), px(*y));
        }
        if close {
            d.push('Z');
        }
        self.put(format_args!(r#"<path d="{d}" class="{class}""#));
        self.close("path", tooltip);
    }

    /// Smooth curves through points, level at each.
    pub(super) fn curve(&mut self, points: &[(f64, f64)], class: &str, arrow: bool) {
        let Some((first, rest)) = points.split_first() else {
            return;
        };
        let mut d = format!("M{} {}", px(first.0), px(first.1));
        let mut last = *first;
        for &(x, y) in rest {
            let middle = px(f64::midpoint(last.0, x));
            let [y0, x1, y1] = [last.1, x, y].map(px);
            let _ = write!(d, "C{middle} {y0} {middle} {y1} {x1} {y1}");
            last = (x, y);
        }
        self.put(format_args!(r#"<path d="{d}" class="{class}"/>"#));
        if arrow {
            let (x, y) = last;
            let head = [(x + 1.0, y), (x - 6.0, y - 3.5), (x - 6.0, y + 3.5)];
            self.path(&head, true, "arrow", "");
        }
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let (x, y, anchor, text) = (px(x), px(y), anchor.name(), escape(text));
        self.put(format_args!(
            r#"<text x="{x}" y="{y}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        ));
    }

    /// A text that reads upwards, centred on its point.
    pub(super) fn upright(&mut self, (x, y): (f64, f64), text: &str) {
        let (x, y, text) = (px(x), px(y), escape(text));
        self.put(format_args!(
            r#"<text transform="translate({x} {y}) rotate(-90)" text-anchor="middle" class="label">{text}</text>"#
        ));
    }

    /// Colour squares with names, from left to right, starting a new row
    /// where the width is used up; returns the height taken.
    pub(super) fn legend(&mut self, entries: &[(String, usize)], (left, top): (f64, f64)) -> f64 {
        let (mut x, mut y) = (left, top);
        for (name, index) in entries {
            let name = shorten(name, 40);
            let width = 18.0 + text_width(&name) + 14.0;
            if x > left && x + width > self.width {
                x = left;
                y += 18.0;
            }
            self.rect(
                [x, y + 2.0, 11.0, 11.0],
                &format!("fill {}", colour(*index)),
                "",
            );
            self.text((x + 17.0, y + 12.0), Anchor::Start, "name", &name);
            x += width;
        }
        y - top + 20.0
    }

    /// The finished element.
    pub(super) fn finish(self, title: &str) -> String {
        let (w, h, title) = (px(self.width), px(self.height), escape(title));
        // Shrinks with the page, but not to where its text cannot be read.
        let least = px(self.width.min((0.75 * self.width).max(540.0)));
        format!(
            r#"<svg viewBox="0 0 {w} {h}" width="{w}" height="{h}" style="max-width:100%;min-width:{least}px;height:auto" role="img" aria-label="{title}">{}</svg>"#,
            self.body
        )
    }
}
