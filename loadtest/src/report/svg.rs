//! Plots as SVG: bars with error bars, and curves. The page's style sheet defines the colours, light and dark.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 90.0;
const ROW: f64 = 24.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 40.0;
/// Number of colours in the style sheet.
pub const COLOURS: usize = 8;

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name.
    pub label: String,
    /// Its length.
    pub value: f64,
    /// The error bar: least and greatest value.
    pub reach: Option<(f64, f64)>,
    /// Number of its colour.
    pub colour: usize,
}

/// One curve.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Its name.
    pub label: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// Number of its colour.
    pub colour: usize,
}

/// Escapes text for HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Marks of an axis from 0 to at least `most`, at multiples of 1, 2 or 5 times a power of ten; at most eight.
fn marks(most: f64) -> Vec<f64> {
    if most <= 0.0 || !most.is_finite() {
        return vec![0.0, 1.0];
    }
    let power = 10_f64.powf((most / 6.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|step| most / step <= 6.0)
        .unwrap_or(10.0 * power);
    let mut marks = vec![0.0];
    while marks.last().is_some_and(|last| *last < most * (1.0 - 1e-9)) {
        #[allow(clippy::cast_precision_loss, reason = "a handful of marks")]
        marks.push(step * marks.len() as f64);
    }
    marks
}

fn shown(value: f64, step: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few places"
    )]
    let places = (-step.log10().floor()).max(0.0) as usize;
    format!("{value:.places$}")
}

fn open(height: f64, title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"{0}\"><title>{0}</title>\
         <text class=\"title\" x=\"0\" y=\"16\">{0}</text>\n",
        escape(title)
    )
}

/// Vertical lines at the marks of the x axis, with its unit.
fn lower_axis(out: &mut String, marks: &[f64], x: &dyn Fn(f64) -> f64, bottom: f64, unit: &str) {
    let step = marks.get(1).copied().unwrap_or(1.0);
    for &mark in marks {
        let at = x(mark);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\"/>\
             <text class=\"mark\" text-anchor=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
            bottom + 15.0,
            shown(mark, step)
        );
    }
    let _ = writeln!(
        out,
        "<text class=\"mark\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        bottom + 32.0,
        escape(unit)
    );
}

/// Horizontal bars from 0, with error bars. `wanted` is a vertical line, the expected value.
#[must_use]
pub fn bars(title: &str, unit: &str, bars: &[Bar], wanted: Option<f64>) -> String {
    let ends = bars
        .iter()
        .map(|bar| bar.reach.map_or(bar.value, |(_, most)| most.max(bar.value)));
    let marks = marks(ends.chain(wanted).fold(0.0, f64::max));
    let most = marks.last().copied().unwrap_or(1.0);
    let x = |value: f64| LEFT + value / most * (WIDTH - LEFT - RIGHT);
    #[allow(clippy::cast_precision_loss, reason = "a handful of bars")]
    let y = |index: usize| TOP + index as f64 * ROW;
    let bottom = y(bars.len()) + 4.0;
    let mut out = open(bottom + BOTTOM, title);
    lower_axis(&mut out, &marks, &x, bottom, unit);
    for (index, bar) in bars.iter().enumerate() {
        let (top, end) = (y(index) + 4.0, x(bar.value));
        let (middle, colour) = (top + 8.0, bar.colour % COLOURS);
        let label = escape(&bar.label);
        let value = super::numbers::digits(bar.value);
        let right = x(bar
            .reach
            .map_or(bar.value, |(_, reach)| reach.max(bar.value)))
            + 6.0;
        let _ = writeln!(
            out,
            "<text text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>\
             <rect class=\"c{colour}\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"16\"><title>{label}: {value}</title></rect>\
             <text x=\"{right:.1}\" y=\"{:.1}\">{value}</text>",
            LEFT - 8.0,
            middle + 4.0,
            (end - LEFT).max(0.5),
            middle + 4.0
        );
        if let Some((least, reach)) = bar.reach {
            let (from, to) = (x(least), x(reach));
            let _ = writeln!(
                out,
                "<line class=\"reach\" x1=\"{from:.1}\" y1=\"{middle:.1}\" x2=\"{to:.1}\" y2=\"{middle:.1}\"/>"
            );
        }
    }
    if let Some(wanted) = wanted {
        let at = x(wanted);
        let _ = writeln!(
            out,
            "<line class=\"wanted\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\"><title>wanted: {wanted}</title></line>"
        );
    }
    out + "</svg>\n"
}

/// Names in a row of the legend.
const NAMES_IN_ROW: usize = 4;
const NAME_ROW: f64 = 18.0;

/// A legend entry, below the plot that ends at `bottom`.
fn name(index: usize, label: &str, colour: usize, bottom: f64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "a handful of lines")]
    let (column, row) = ((index % NAMES_IN_ROW) as f64, (index / NAMES_IN_ROW) as f64);
    let (left, top) = (8.0 + column * 185.0, bottom + 4.0 + row * NAME_ROW);
    format!(
        "<rect class=\"c{colour}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"12\" height=\"12\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{label}</text>\n",
        left + 18.0,
        top + 10.0
    )
}

/// Curves, both axes from 0, with a legend below.
#[must_use]
pub fn lines(title: &str, units: (&str, &str), lines: &[Curve]) -> String {
    const HEIGHT: f64 = 240.0;
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let x_marks = marks(points().map(|(x, _)| *x).fold(0.0, f64::max));
    let y_marks = marks(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let (x_most, y_most) = (
        x_marks.last().copied().unwrap_or(1.0),
        y_marks.last().copied().unwrap_or(1.0),
    );
    let x = |value: f64| LEFT + value / x_most * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| TOP + HEIGHT - value / y_most * HEIGHT;
    let bottom = TOP + HEIGHT;
    #[allow(clippy::cast_precision_loss, reason = "a handful of rows")]
    let names = NAME_ROW * lines.len().div_ceil(NAMES_IN_ROW) as f64;
    let mut out = open(bottom + BOTTOM + names + 8.0, title);
    lower_axis(&mut out, &x_marks, &x, bottom, units.0);
    let step = y_marks.get(1).copied().unwrap_or(1.0);
    for &mark in &y_marks {
        let at = y(mark);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"mark\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            shown(mark, step)
        );
    }
    let _ = writeln!(
        out,
        "<text class=\"mark\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        LEFT - 60.0,
        f64::midpoint(TOP, bottom),
        escape(units.1)
    );
    for (index, line) in lines.iter().enumerate() {
        let (label, colour) = (escape(&line.label), line.colour % COLOURS);
        let at = line.points.iter().map(|&(a, b)| (x(a), y(b)));
        let text: Vec<String> = at.clone().map(|(a, b)| format!("{a:.1},{b:.1}")).collect();
        let _ = writeln!(
            out,
            "<polyline class=\"l{colour}\" points=\"{}\"><title>{label}</title></polyline>",
            text.join(" ")
        );
        for (a, b) in at {
            let _ = writeln!(
                out,
                "<circle class=\"c{colour}\" cx=\"{a:.1}\" cy=\"{b:.1}\" r=\"3\"/>"
            );
        }
        out += &name(index, &label, colour, bottom + BOTTOM);
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_few_and_cover_the_largest_value() {
        for most in [0.003, 0.97, 1.0, 1.2, 4.9, 17.0, 99.0, 12_345.0] {
            let marks = marks(most);
            assert!((2..=8).contains(&marks.len()), "{most}: {marks:?}");
            assert!(
                marks.last().is_some_and(|last| *last >= most * 0.999_999),
                "{most}: {marks:?}"
            );
        }
        assert_eq!(
            marks(1.2),
            [
                0.0,
                0.2,
                0.4,
                0.6000000000000001,
                0.8,
                1.0,
                1.2000000000000002
            ]
        );
        assert_eq!(marks(0.0), [0.0, 1.0]);
    }

    #[test]
    fn labels_are_escaped() {
        let bar = Bar {
            label: "a<b>&\"c\"".to_owned(),
            value: 1.0,
            reach: Some((0.5, 1.5)),
            colour: 0,
        };
        let svg = bars("t<", "u", &[bar], Some(1.2));
        assert!(
            svg.contains("a&lt;b&gt;&amp;&quot;c&quot;") && svg.contains("t&lt;"),
            "{svg}"
        );
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }
}
