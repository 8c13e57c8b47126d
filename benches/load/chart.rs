//! Curves, as SVG.

use std::ops::Range;

use anyhow::anyhow;
use plotters::backend::SVGBackend;
use plotters::chart::ChartBuilder;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::drawing::IntoDrawingArea;
use plotters::series::LineSeries;
use plotters::style::{Color, RGBColor, TRANSPARENT};

/// In pixels; the page scales it.
const SIZE: (u32, u32) = (1_000, 380);
/// Colours of curves, in order; the page's legend names them. They differ for the colour-blind as well (Okabe and Ito).
pub(crate) const COLOURS: [(u8, u8, u8); 8] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
    (90, 90, 90),
    (190, 170, 20),
];

/// Curves over common axes.
pub struct Chart {
    /// Its caption.
    pub title: String,
    /// What is to the right.
    pub x: (String, Scale),
    /// What is up.
    pub y: (String, Scale),
    /// What is drawn; curves without points are left out.
    pub curves: Vec<Curve>,
}

/// Points in order.
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    /// Right and up.
    pub points: Vec<(f64, f64)>,
}

/// How an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From nought, evenly.
    Linear,
    /// Tenfold by tenfold.
    Logarithmic,
    /// Of a share of calls: tenfold by tenfold in the calls per one that is left, with marks such as 99 %.
    Percentiles,
}

impl Chart {
    /// One curve for each server, of what it did and how long that took, rate by rate.
    pub fn throughput_and_latency(curves: Vec<Curve>) -> Self {
        Self {
            title: "Latency against throughput: p99 of open loops".to_owned(),
            x: ("answers of status 200 in a second".to_owned(), Scale::Linear),
            y: ("ms".to_owned(), Scale::Logarithmic),
            curves,
        }
    }

    /// The curves that have points, in order.
    pub(crate) fn drawn(&self) -> impl Iterator<Item = &Curve> {
        self.curves.iter().filter(|curve| !curve.points.is_empty())
    }

    /// The picture.
    pub fn svg(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(|error| anyhow!("the chart cannot be drawn: {error}"))?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let x = Axis::new(self.x.1, points().map(|point| point.0));
        let y = Axis::new(self.y.1, points().map(|point| point.1));
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(45)
            .y_label_area_size(70)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", 14))
            .x_desc(&self.x.0)
            .y_desc(&self.y.0)
            .draw()?;
        for (curve, (red, green, blue)) in self.drawn().zip(COLOURS.into_iter().cycle()) {
            let colour = RGBColor(red, green, blue).stroke_width(2);
            chart.draw_series(LineSeries::new(curve.points.iter().copied(), colour))?;
        }
        area.present()?;
        Ok(())
    }
}

/// A scale between its ends.
struct Axis {
    scale: Scale,
    /// In places, which are logarithms where the scale is one.
    places: Range<f64>,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let places = values.map(|value| scale.place(value));
        let ends = places.fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
        let places = match (scale, ends) {
            (_, (low, high)) if low > high => 0.0..1.0,
            (Scale::Linear, (_, high)) => 0.0..(high * 1.05).max(1.0),
            (Scale::Logarithmic, (low, high)) => low - 0.05..high + 0.05,
            (Scale::Percentiles, (_, high)) => 0.0..high.max(2.0),
        };
        Self { scale, places }
    }

    /// Values that are marked.
    fn marks(&self) -> Vec<f64> {
        let Range { start, end } = self.places;
        let decades = || (start.floor() as i32..=end.ceil() as i32).map(|decade| 10_f64.powi(decade));
        let marks: Vec<f64> = match self.scale {
            Scale::Linear => {
                let magnitude = 10_f64.powf(end.log10().floor());
                let steps = [0.1, 0.2, 0.5, 1.0].map(|step| step * magnitude);
                let step = steps.into_iter().find(|step| end / step <= 10.0).unwrap_or(magnitude);
                (0..=10).map(|mark| f64::from(mark) * step).collect()
            }
            Scale::Logarithmic => decades().flat_map(|decade| [decade, 2.0 * decade, 5.0 * decade]).collect(),
            Scale::Percentiles => [2.0].into_iter().chain(decades()).collect(),
        };
        marks.into_iter().filter(|mark| (start..=end).contains(&self.scale.place(*mark))).collect()
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let Range { start, end } = self.places;
        let share = (self.scale.place(*value) - start) / (end - start);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks()
    }

    fn range(&self) -> Range<f64> {
        self.scale.value(self.places.start)..self.scale.value(self.places.end)
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        match self.scale {
            Scale::Linear | Scale::Logarithmic => short(*value),
            Scale::Percentiles => short(100.0 - 100.0 / value) + " %",
        }
    }
}

impl Scale {
    /// Where a value is on the axis.
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            // Less than a microsecond is told apart by nobody.
            Self::Logarithmic | Self::Percentiles => value.max(0.001).log10(),
        }
    }

    /// What is at a place.
    fn value(self, place: f64) -> f64 {
        match self {
            Self::Linear => place,
            Self::Logarithmic | Self::Percentiles => 10_f64.powf(place),
        }
    }
}

/// With as many digits as it takes to tell marks apart.
fn short(value: f64) -> String {
    let text = format!("{value:.5}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
