//! Curves, named at their right ends.

use super::super::model::{LineSeries, Lines};
use super::super::number;
use super::axes::{self, Unit};
use super::canvas::{Anchor, Canvas, colour, shorten, text_width};
use super::scale::{Scale, range};

/// Room between the names of two curves.
const NAME_HEIGHT: f64 = 14.0;
/// Longest name at a curve's end.
const NAME_CHARACTERS: usize = 20;

/// The area that data is drawn in, with its scales.
pub(super) struct Plot {
    pub(super) canvas: Canvas,
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) right: f64,
}

/// Axes for curves, with room for their names at the right.
pub(super) fn plot(lines: &Lines, y_range: (f64, f64)) -> Plot {
    let names = lines
        .series
        .iter()
        .map(|s| text_width(&shorten(&s.name, NAME_CHARACTERS)));
    let margin = 12.0 + 1.08 * names.fold(0.0, f64::max);
    let (width, height, left) = (450.0 + margin, 270.0, 60.0);
    let right = width - margin;
    let points = || {
        lines
            .series
            .iter()
            .flat_map(|s| s.points.iter().chain(&s.raw))
    };
    let x_range = range(points().map(|p| p.0)).unwrap_or((0.0, 1.0));
    let x = Scale::new(x_range, (left, right));
    let y = Scale::new(y_range, (height - 46.0, 12.0));
    let y = if lines.y_range.is_some() {
        y
    } else {
        y.nice(5)
    };
    let mut canvas = Canvas::new(width, height);
    axes::y_axis(&mut canvas, &y, (left, right), Unit::Plain, &lines.y_label);
    axes::x_axis(&mut canvas, &x, height - 46.0, Unit::Plain, &lines.x_label);
    Plot {
        canvas,
        x,
        y,
        right,
    }
}

pub(super) fn draw(lines: &Lines, title: &str) -> String {
    let y_range = lines
        .y_range
        .unwrap_or_else(|| visible_range(&lines.series));
    let mut plot = plot(lines, y_range);
    for series in &lines.series {
        plot.faint(series);
    }
    for series in &lines.series {
        plot.strong(series);
    }
    if let Some((value, name)) = &lines.reference {
        let left = plot.x.pixels().0;
        axes::reference(
            &mut plot.canvas,
            &plot.y,
            (left, plot.right),
            (*value, name),
        );
    }
    let last = |s: &LineSeries| Some((s.name.clone(), s.colour, plot.y.at(s.points.last()?.1)));
    let ends: Vec<_> = lines.series.iter().filter_map(last).collect();
    plot.names(ends);
    plot.canvas.finish(title)
}

/// The range of the strong curves and nearly all faint points: a single spike
/// must not flatten the rest.
fn visible_range(series: &[LineSeries]) -> (f64, f64) {
    let mut raw: Vec<_> = series.iter().flat_map(|s| &s.raw).map(|p| p.1).collect();
    raw.retain(|v| v.is_finite());
    raw.sort_by(f64::total_cmp);
    let cut = raw.len() / 50;
    let inner = &raw[cut..raw.len() - cut];
    let strong = series.iter().flat_map(|s| &s.points).map(|p| p.1);
    range(strong.chain(inner.iter().copied())).unwrap_or((0.0, 1.0))
}

impl Plot {
    fn place(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let point = |(x, y): &(f64, f64)| (self.x.at(*x), self.y.at(*y));
        points.iter().map(point).collect()
    }

    fn faint(&mut self, series: &LineSeries) {
        let points = self.place(&series.raw);
        let class = format!("faint {}", colour(series.colour));
        self.canvas.path(&points, false, &class, "");
    }

    fn strong(&mut self, series: &LineSeries) {
        let points = self.place(&series.points);
        let class = format!("curve {}", colour(series.colour));
        self.canvas.path(&points, false, &class, &series.name);
        if series.marks {
            let class = format!("fill {}", colour(series.colour));
            for (point, (x, y)) in points.iter().zip(&series.points) {
                let tooltip = format!(
                    "{} at {}",
                    number::significant(*y, 4),
                    number::significant(*x, 4)
                );
                self.canvas.circle(*point, 3.5, &class, &tooltip);
            }
        }
    }

    /// Names at the right, moved apart where curves end close together.
    pub(super) fn names(&mut self, mut ends: Vec<(String, usize, f64)>) {
        ends.sort_by(|a, b| a.2.total_cmp(&b.2));
        let (bottom, top) = self.y.pixels();
        let heights: Vec<_> = ends.iter().map(|end| end.2).collect();
        let at = spread(&heights, NAME_HEIGHT, (top, bottom));
        for ((name, index, _), at) in ends.iter().zip(at) {
            let class = format!("end {}", colour(*index));
            let name = shorten(name, NAME_CHARACTERS);
            self.canvas
                .text((self.right + 7.0, at + 4.0), Anchor::Start, &class, &name);
        }
    }
}

/// Sorted positions moved apart to at least `gap`, within the limits where
/// there is room.
fn spread(sorted: &[f64], gap: f64, (low, high): (f64, f64)) -> Vec<f64> {
    let mut at = sorted.to_vec();
    for i in 1..at.len() {
        at[i] = at[i].max(at[i - 1] + gap);
    }
    let mut limit = high;
    for place in at.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - gap;
    }
    let over = low - at.first().copied().unwrap_or(low);
    if over > 0.0 {
        at.iter_mut().for_each(|place| *place += over);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn names_keep_their_distance() {
        let at = spread(&[10.0, 11.0, 12.0, 95.0, 99.0], 14.0, (0.0, 100.0));
        assert!(
            at.windows(2).all(|pair| pair[1] - pair[0] >= 14.0 - 1e-9),
            "{at:?}"
        );
        assert!(at.iter().all(|y| (0.0..=100.0).contains(y)), "{at:?}");
        assert_eq!(spread(&[], 14.0, (0.0, 1.0)), Vec::<f64>::new());
    }
}
