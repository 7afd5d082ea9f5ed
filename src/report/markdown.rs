//! `report.md`: the report without its charts.

use std::fmt::Write as _;

use super::model::{Align, Block, Figure, Sample, Section, Table};
use super::xml::visible;
use super::{Exporter, Report, ReportError, number};

/// The report as Markdown (CommonMark with tables).
pub(super) struct Markdown;

impl Exporter for Markdown {
    fn file_name(&self) -> &'static str {
        "report.md"
    }

    fn render(&self, report: &Report) -> Result<String, ReportError> {
        let mut out = String::new();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "# {}\n", inline(&report.title));
        for (name, value) in &report.facts {
            let _ = writeln!(out, "- {}: {}", inline(name), inline(value));
        }
        out.push('\n');
        for warning in &report.warnings {
            let _ = writeln!(out, "> **Note:** {}\n", inline(warning));
        }
        for tile in &report.tiles {
            let (label, value) = (inline(&tile.label), inline(&tile.value));
            let _ = writeln!(out, "- **{label}: {value}** ({})", inline(&tile.remark));
        }
        for section in &report.sections {
            render_section(&mut out, section);
        }
        Ok(out)
    }
}

/// The text on one line with everything escaped that Markdown or HTML in it
/// would act on.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '|' | '[' | ']' | '#' | '~' | '_' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(visible(c)),
        }
    }
    out
}

fn render_section(out: &mut String, section: &Section) {
    let _ = writeln!(out, "\n## {}\n", inline(&section.heading));
    section
        .blocks
        .iter()
        .for_each(|block| render_block(out, block));
}

fn render_block(out: &mut String, block: &Block) {
    match block {
        Block::Paragraph(text) => {
            let _ = writeln!(out, "{}\n", inline(text));
        }
        Block::Missing(text) => {
            let _ = writeln!(out, "*{}*\n", inline(text));
        }
        Block::Table(table) => render_table(out, table),
        Block::Figure(figure) => render_figure(out, figure),
        Block::Samples(samples) => samples.iter().for_each(|sample| render_sample(out, sample)),
        Block::Details {
            summary, blocks, ..
        } => {
            let _ = writeln!(out, "### {}\n", inline(summary));
            blocks.iter().for_each(|block| render_block(out, block));
        }
    }
}

fn render_figure(out: &mut String, figure: &Figure) {
    let caption = inline(&figure.caption);
    let _ = writeln!(out, "*Drawn in report.html:* {caption}\n");
}

fn render_table(out: &mut String, table: &Table) {
    let _ = writeln!(out, "{}:\n", inline(&table.caption));
    let titles: Vec<_> = table
        .columns
        .iter()
        .map(|column| inline(&column.title))
        .collect();
    let _ = writeln!(out, "| {} |", titles.join(" | "));
    let rules: Vec<_> = table
        .columns
        .iter()
        .map(|column| {
            if column.align == Align::Number {
                "---:"
            } else {
                "---"
            }
        })
        .collect();
    let _ = writeln!(out, "| {} |", rules.join(" | "));
    for row in &table.rows {
        let cells: Vec<_> = row.iter().map(|cell| inline(cell)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
}

fn render_sample(out: &mut String, sample: &Sample) {
    for (role, content) in &sample.prompt {
        let _ = writeln!(out, "**{}**\n", inline(role));
        fenced(out, content);
    }
    for response in &sample.responses {
        let reward = response
            .reward
            .map(|reward| format!(" (reward {})", number::fixed(reward, 2)));
        let _ = writeln!(
            out,
            "**{}**{}\n",
            inline(&response.label),
            reward.unwrap_or_default()
        );
        fenced(out, &response.text);
    }
    if let Some(verdict) = &sample.verdict {
        let _ = writeln!(out, "{}\n", inline(verdict));
    }
    out.push_str("---\n\n");
}

/// A text as a code block whose fence is longer than any within it.
fn fenced(out: &mut String, text: &str) {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    let text: String = text.trim().chars().map(visible).collect();
    let _ = writeln!(out, "{fence}text\n{text}\n{fence}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_end_its_own_fence() {
        let mut out = String::new();
        fenced(&mut out, "a\n````\n# heading");
        assert_eq!(out, "`````text\na\n````\n# heading\n`````\n\n");
    }

    #[test]
    fn inline_text_has_no_markup_left() {
        assert_eq!(
            inline("a|b\n<i>*x*_y_</i>"),
            r"a\|b &lt;i&gt;\*x\*\_y\_&lt;/i&gt;"
        );
    }
}
