//! `report.html`: one page that needs nothing else.
//!
//! No script, no reference to another file; the content policy in its head
//! forbids both, should a text ever slip through unescaped.

use std::fmt::Write as _;

use super::model::{Align, Block, Column, Figure, Sample, SampleResponse, Section, Table, Tile};
use super::xml::{element, escape};
use super::{Exporter, Report, ReportError, number, svg};

const STYLE: &str = include_str!("style.css");

/// The report as a web page.
pub(super) struct Html;

impl Exporter for Html {
    fn file_name(&self) -> &'static str {
        "report.html"
    }

    fn render(&self, report: &Report) -> Result<String, ReportError> {
        let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n");
        head(&mut out, &report.title);
        out.push_str("<body>\n");
        header(&mut out, report);
        navigation(&mut out, &report.sections);
        out.push_str("<main>\n");
        for section in &report.sections {
            render_section(&mut out, section);
        }
        out.push_str("</main>\n</body>\n</html>\n");
        Ok(out)
    }
}

fn head(out: &mut String, title: &str) {
    out.push_str("<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    out.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n");
    element(out, "title", "", title);
    out.push_str("\n<style>\n");
    out.push_str(STYLE);
    out.push_str("</style>\n</head>\n");
}

fn header(out: &mut String, report: &Report) {
    out.push_str("<header>\n");
    element(out, "h1", "", &report.title);
    out.push_str("\n<dl class=\"facts\">\n");
    for (name, value) in &report.facts {
        out.push_str("<div>");
        element(out, "dt", "", name);
        element(out, "dd", "", value);
        out.push_str("</div>\n");
    }
    out.push_str("</dl>\n");
    for warning in &report.warnings {
        element(out, "p", " class=\"warning\"", warning);
        out.push('\n');
    }
    if !report.tiles.is_empty() {
        out.push_str("<div class=\"tiles\">\n");
        report.tiles.iter().for_each(|tile| render_tile(out, tile));
        out.push_str("</div>\n");
    }
    out.push_str("</header>\n");
}

fn render_tile(out: &mut String, tile: &Tile) {
    out.push_str("<div class=\"tile\">");
    element(out, "div", " class=\"tile-label\"", &tile.label);
    element(out, "div", " class=\"tile-value\"", &tile.value);
    element(out, "div", " class=\"tile-remark\"", &tile.remark);
    out.push_str("</div>\n");
}

fn navigation(out: &mut String, sections: &[Section]) {
    out.push_str("<nav aria-label=\"Sections\">\n");
    for section in sections {
        let attributes = format!(" href=\"#{}\"", section.id);
        element(out, "a", &attributes, &section.heading);
        out.push('\n');
    }
    out.push_str("</nav>\n");
}

fn render_section(out: &mut String, section: &Section) {
    let _ = writeln!(out, "<section id=\"{}\">", section.id);
    element(out, "h2", "", &section.heading);
    out.push('\n');
    section
        .blocks
        .iter()
        .for_each(|block| render_block(out, block));
    out.push_str("</section>\n");
}

fn render_block(out: &mut String, block: &Block) {
    match block {
        Block::Paragraph(text) => element(out, "p", "", text),
        Block::Missing(text) => element(out, "p", " class=\"missing\"", text),
        Block::Table(table) => render_table(out, table),
        Block::Figure(figure) => render_figure(out, figure),
        Block::Samples(samples) => samples.iter().for_each(|sample| render_sample(out, sample)),
        Block::Details {
            summary,
            open,
            blocks,
        } => {
            out.push_str(if *open { "<details open>" } else { "<details>" });
            element(out, "summary", "", summary);
            out.push('\n');
            blocks.iter().for_each(|block| render_block(out, block));
            out.push_str("</details>");
        }
    }
    out.push('\n');
}

fn class(column: &Column) -> &'static str {
    match column.align {
        Align::Text => "",
        Align::Number => " class=\"number\"",
        Align::Code => " class=\"code\"",
    }
}

fn render_table(out: &mut String, table: &Table) {
    out.push_str("<div class=\"scroll\"><table>");
    element(out, "caption", "", &table.caption);
    out.push_str("\n<thead><tr>");
    for column in &table.columns {
        let attributes = format!(" scope=\"col\"{}", class(column));
        element(out, "th", &attributes, &column.title);
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (i, (column, cell)) in table.columns.iter().zip(row).enumerate() {
            if i == 0 {
                let attributes = format!(" scope=\"row\"{}", class(column));
                element(out, "th", &attributes, cell);
            } else {
                element(out, "td", class(column), cell);
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>");
}

fn render_figure(out: &mut String, figure: &Figure) {
    out.push_str("<figure>\n<div class=\"panels\">\n");
    let several = figure.panels.len() > 1;
    for panel in &figure.panels {
        out.push_str("<div class=\"panel\">");
        if several {
            element(out, "div", " class=\"panel-title\"", &panel.title);
        }
        out.push_str(&svg::draw(&panel.chart, &panel.title));
        out.push_str("</div>\n");
    }
    out.push_str("</div>\n");
    element(out, "figcaption", "", &figure.caption);
    out.push_str("\n</figure>");
}

fn render_sample(out: &mut String, sample: &Sample) {
    out.push_str("<article class=\"sample\">\n");
    for (role, content) in &sample.prompt {
        out.push_str("<div class=\"prompt\">");
        element(out, "span", " class=\"role\"", role);
        text(out, content);
        out.push_str("</div>\n");
    }
    out.push_str("<div class=\"responses\">\n");
    sample
        .responses
        .iter()
        .for_each(|response| render_response(out, response));
    out.push_str("</div>\n");
    if let Some(verdict) = &sample.verdict {
        element(out, "p", " class=\"verdict\"", verdict);
    }
    out.push_str("</article>\n");
}

fn render_response(out: &mut String, response: &SampleResponse) {
    let class = if response.preferred {
        "response preferred"
    } else {
        "response"
    };
    let _ = write!(out, "<div class=\"{class}\"><div class=\"response-head\">");
    element(out, "span", "", &response.label);
    if let Some(reward) = response.reward {
        let reward = format!("reward {}", number::fixed(reward, 2));
        element(out, "span", " class=\"reward\"", &reward);
    }
    out.push_str("</div>");
    text(out, &response.text);
    out.push_str("</div>\n");
}

/// A text by a model or from the data, line breaks kept.
fn text(out: &mut String, content: &str) {
    if content.trim().is_empty() {
        out.push_str("<p class=\"text missing\">(empty)</p>");
    } else {
        let _ = write!(
            out,
            "<p class=\"text\" dir=\"auto\">{}</p>",
            escape(content.trim())
        );
    }
}
