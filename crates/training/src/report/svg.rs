//! Axes, lines and bars as SVG text.

use std::fmt::Write as _;

/// `text` for HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// A plot with linear axes.
pub(super) struct Plot {
    x: (f64, f64),
    y: (f64, f64),
    body: String,
    legend: Vec<(usize, String)>,
}

impl Plot {
    /// Axes over these ranges, with their names.
    pub(super) fn new(x: (f64, f64), x_name: &str, y: (f64, f64), y_name: &str) -> Self {
        let mut plot = Self {
            x: widened(x),
            y: widened(y),
            body: String::new(),
            legend: Vec::new(),
        };
        plot.axes(x_name, y_name);
        plot
    }

    fn at_x(&self, value: f64) -> f64 {
        LEFT + (value - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn at_y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value - self.y.0) / (self.y.1 - self.y.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&mut self, x_name: &str, y_name: &str) {
        for tick in ticks(self.x) {
            let x = self.at_x(tick);
            let bottom = HEIGHT - BOTTOM;
            let _ = write!(
                self.body,
                r#"<line class="grid" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 16.0,
                short(tick)
            );
        }
        for tick in ticks(self.y) {
            let y = self.at_y(tick);
            let _ = write!(
                self.body,
                r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{}" y2="{y:.1}"/><text class="tick" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                short(tick)
            );
        }
        let _ = write!(
            self.body,
            r#"<text class="name" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text><text class="name" transform="translate(14 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 8.0,
            escape(x_name),
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escape(y_name)
        );
    }

    /// A line through points; `color` is one of eight.
    pub(super) fn line(&mut self, points: &[(f64, f64)], color: usize, name: &str) {
        let path: Vec<String> = points
            .iter()
            .map(|&(x, y)| format!("{:.1},{:.1}", self.at_x(x), self.at_y(y)))
            .collect();
        let _ = write!(
            self.body,
            r#"<polyline class="line c{color}" points="{}"><title>{}</title></polyline>"#,
            path.join(" "),
            escape(name)
        );
        self.legend.push((color, name.to_owned()));
    }

    /// A dashed line that is a reference, not data.
    pub(super) fn reference(&mut self, from: (f64, f64), to: (f64, f64)) {
        let _ = write!(
            self.body,
            r#"<line class="reference" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
            self.at_x(from.0),
            self.at_y(from.1),
            self.at_x(to.0),
            self.at_y(to.1)
        );
    }

    /// A vertical line with a word beside it.
    pub(super) fn mark(&mut self, x: f64, word: &str) {
        self.reference((x, self.y.0), (x, self.y.1));
        let _ = write!(
            self.body,
            r#"<text class="tick" x="{:.1}" y="{:.1}">{}</text>"#,
            self.at_x(x) + 4.0,
            TOP + 12.0,
            escape(word)
        );
    }

    /// A bar from the lower end of the axis.
    pub(super) fn bar(&mut self, from: f64, to: f64, height: f64, color: usize, title: &str) {
        let (left, right) = (self.at_x(from), self.at_x(to));
        let (top, bottom) = (self.at_y(height), self.at_y(self.y.0.max(0.0)));
        let _ = write!(
            self.body,
            r#"<rect class="bar c{color}" x="{:.1}" y="{top:.1}" width="{:.1}" height="{:.1}"><title>{}</title></rect>"#,
            left + 1.0,
            (right - left - 2.0).max(0.5),
            (bottom - top).max(0.0),
            escape(title)
        );
    }

    /// A dot whose area grows with `weight`, from 0 to 1.
    pub(super) fn dot(&mut self, x: f64, y: f64, weight: f64, color: usize, title: &str) {
        let _ = write!(
            self.body,
            r#"<circle class="dot c{color}" cx="{:.1}" cy="{:.1}" r="{:.1}"><title>{}</title></circle>"#,
            self.at_x(x),
            self.at_y(y),
            3.0 + 7.0 * weight.sqrt(),
            escape(title)
        );
    }

    /// The figure.
    pub(super) fn figure(self, caption: &str) -> String {
        let mut legend = String::new();
        if self.legend.len() > 1 {
            for (color, name) in &self.legend {
                let _ = write!(
                    legend,
                    r#"<span><i class="c{color}"></i>{}</span>"#,
                    escape(name)
                );
            }
            legend = format!(r#"<div class="legend">{legend}</div>"#);
        }
        format!(
            r#"<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{0}">{1}</svg>{legend}<figcaption>{0}</figcaption></figure>"#,
            escape(caption),
            self.body
        )
    }
}

/// One row of a plot of intervals.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) estimate: f64,
    /// The interval, where there is one.
    pub(super) interval: Option<(f64, f64)>,
    pub(super) color: usize,
    /// What stands behind the bar.
    pub(super) text: String,
}

/// Horizontal bars with names; with intervals, dots and whiskers around a line at 0.
pub(super) fn rows(rows: &[Bar], caption: &str) -> String {
    const NAME: f64 = 190.0;
    const TEXT: f64 = 150.0;
    const STEP: f64 = 22.0;
    let width = 760.0;
    let (from, to) = (NAME, width - TEXT);
    let ends = |row: &Bar| row.interval.unwrap_or((row.estimate, row.estimate));
    let low = rows.iter().map(|row| ends(row).0).fold(0.0, f64::min);
    let high = rows.iter().map(|row| ends(row).1).fold(0.0, f64::max);
    let (low, high) = widened((low, high));
    let at = |value: f64| from + (value - low) / (high - low) * (to - from);
    let height = STEP * rows.len() as f64 + 34.0;
    let mut body = String::new();
    for tick in ticks((low, high)) {
        let x = at(tick);
        let _ = write!(
            body,
            r#"<line class="grid" x1="{x:.1}" y1="4" x2="{x:.1}" y2="{:.1}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            height - 26.0,
            height - 10.0,
            short(tick)
        );
    }
    let zero = at(0.0);
    let _ = write!(
        body,
        r#"<line class="zero" x1="{zero:.1}" y1="4" x2="{zero:.1}" y2="{:.1}"/>"#,
        height - 26.0
    );
    for (number, row) in rows.iter().enumerate() {
        let y = 18.0 + STEP * number as f64;
        let _ = write!(
            body,
            r#"<text class="row" x="{:.1}" y="{:.1}" text-anchor="end">{}</text><text class="tick" x="{:.1}" y="{:.1}">{}</text>"#,
            NAME - 8.0,
            y + 4.0,
            escape(&row.name),
            to + 8.0,
            y + 4.0,
            escape(&row.text)
        );
        let color = row.color;
        match row.interval {
            Some((low, high)) => {
                let _ = write!(
                    body,
                    r#"<line class="whisker c{color}" x1="{:.1}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}"/><circle class="dot c{color}" cx="{:.1}" cy="{y:.1}" r="5"/>"#,
                    at(low),
                    at(high),
                    at(row.estimate)
                );
            }
            None => {
                let (left, right) = (at(row.estimate.min(0.0)), at(row.estimate.max(0.0)));
                let _ = write!(
                    body,
                    r#"<rect class="bar c{color}" x="{left:.1}" y="{:.1}" width="{:.1}" height="14"/>"#,
                    y - 7.0,
                    (right - left).max(0.5)
                );
            }
        }
    }
    format!(
        r#"<figure class="wide"><svg viewBox="0 0 {width} {height}" role="img" aria-label="{0}">{body}</svg><figcaption>{0}</figcaption></figure>"#,
        escape(caption)
    )
}

fn widened((low, high): (f64, f64)) -> (f64, f64) {
    if high - low > 1e-12 {
        (low, high)
    } else {
        (low - 0.5, low + 0.5)
    }
}

/// Four to eight round numbers within a range.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(rough);
    let first = (low / step - 1e-9).ceil() as i64;
    (first..first + 12)
        .map(|number| number as f64 * step)
        .take_while(|tick| *tick <= high + step * 1e-9)
        .collect()
}

/// A number with as many digits as a label needs.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}
