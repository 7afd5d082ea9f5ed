//! Wins, ties and losses as one bar for each comparison.

use super::super::model::{Estimate, OutcomeRow, Outcomes};
use super::super::number;
use super::axes::{self, Unit};
use super::canvas::{Anchor, Canvas, shorten};
use super::scale::Scale;

const LEFT: f64 = 10.0;
const RIGHT: f64 = 710.0;
const ROW: f64 = 84.0;
const BAR: f64 = 28.0;

pub(super) fn draw(outcomes: &Outcomes, title: &str) -> String {
    let bottom = 10.0 + ROW * outcomes.rows.len() as f64;
    let mut canvas = Canvas::new(RIGHT + 20.0, bottom + 42.0);
    let x = Scale::new((0.0, 1.0), (LEFT, RIGHT));
    let half = x.at(0.5);
    for (i, row) in outcomes.rows.iter().enumerate() {
        let top = 10.0 + ROW * i as f64;
        canvas.text(
            (LEFT, top + 12.0),
            Anchor::Start,
            "name strong",
            &shorten(&row.label, 90),
        );
        draw_bar(&mut canvas, &x, row, top + 20.0);
        let foot = top + 20.0 + BAR + 22.0;
        canvas.line((half, top + 18.0), (half, foot), "reference");
        if let Some(rate) = &row.rate {
            draw_rate(&mut canvas, &x, rate, top + 20.0 + BAR + 13.0);
        }
    }
    axes::x_axis(&mut canvas, &x, bottom, Unit::Percent, "share of prompts");
    canvas.finish(title)
}

fn draw_bar(canvas: &mut Canvas, x: &Scale, row: &OutcomeRow, top: f64) {
    let parts = [
        ("win", row.win, "outcome-win"),
        ("tie", row.tie, "outcome-tie"),
        ("loss", row.loss, "outcome-loss"),
        ("unparsed", row.unparsed, "outcome-unparsed"),
    ];
    let total: f64 = parts.iter().map(|part| part.1).sum();
    if total <= 0.0 {
        canvas.text((LEFT, top + 18.0), Anchor::Start, "remark", "no verdicts");
        return;
    }
    let mut before = 0.0;
    for (name, count, class) in parts {
        let share = count / total;
        let (left, right) = (x.at(before), x.at(before + share));
        before += share;
        if count == 0.0 {
            continue;
        }
        let text = format!("{name} {}", number::percent(share));
        let tooltip = format!(
            "{text}: {} of {}",
            number::count(count),
            number::count(total)
        );
        canvas.rect([left, top, right - left - 1.0, BAR], class, &tooltip);
        let short = [text.as_str(), name]
            .into_iter()
            .find(|t| super::canvas::text_width(t) + 10.0 < right - left);
        if let Some(text) = short {
            let class = format!("on-{class}");
            canvas.text(
                (f64::midpoint(left, right), top + 18.5),
                Anchor::Middle,
                &class,
                text,
            );
        }
    }
}

fn draw_rate(canvas: &mut Canvas, x: &Scale, rate: &Estimate, y: f64) {
    let text = number::percent_interval(Some(rate.value), rate.low, rate.high);
    let mut end = x.at(rate.value) + 8.0;
    if let (Some(low), Some(high)) = (rate.low, rate.high) {
        let (low, high) = (x.at(low), x.at(high));
        canvas.line((low, y), (high, y), "whisker");
        for at in [low, high] {
            canvas.line((at, y - 5.0), (at, y + 5.0), "whisker");
        }
        end = high + 8.0;
    }
    canvas.circle(
        (x.at(rate.value), y),
        4.0,
        "dot",
        &format!("win rate {text}"),
    );
    let text = format!("win rate {text}");
    let (at, anchor) = if end + super::canvas::text_width(&text) < RIGHT {
        (end, Anchor::Start)
    } else {
        let low = x.at(rate.low.unwrap_or(rate.value));
        (low - 8.0, Anchor::End)
    };
    canvas.text((at, y + 4.0), anchor, "note", &text);
}
