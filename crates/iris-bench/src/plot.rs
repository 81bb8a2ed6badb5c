//! Plots the throughput of the contenders.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::summary::BenchSummary;

const WIDTH: u32 = 900;
const BAR: u32 = 34;
const MARGIN: u32 = 60;
const OURS: RGBColor = RGBColor(31, 119, 180);
const LIMIT: RGBColor = RGBColor(160, 160, 160);
const PEER: RGBColor = RGBColor(255, 127, 14);

/// Draws each contender's median throughput as a bar, with a line from its slowest to its fastest run.
///
/// # Errors
/// If the file cannot be written.
pub fn throughput(summary: &BenchSummary, file: &Path) -> anyhow::Result<()> {
    let lines: Vec<_> = summary
        .throughput
        .iter()
        .filter_map(|line| Some((line, line.observed.or(line.reported)?)))
        .collect();
    let height = MARGIN * 2 + BAR * u32::try_from(lines.len())?;
    let most = lines
        .iter()
        .map(|(_, spread)| spread.max)
        .fold(1.0, f64::max);
    let area = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    let drawn = |error: DrawingAreaErrorKind<_>| anyhow!("{}: {error}", file.display());
    area.fill(&WHITE).map_err(drawn)?;
    let bars = i32::try_from(lines.len())?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "records/s, median of the runs and their spread",
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(380)
        .build_cartesian_2d(0.0..most * 1.05, (0..bars).into_segmented())
        .map_err(drawn)?;
    let name = |position: &SegmentValue<i32>| match position {
        SegmentValue::CenterOf(row) => usize::try_from(bars - 1 - row)
            .ok()
            .and_then(|row| lines.get(row))
            .map_or_else(String::new, |(line, _)| line.name.clone()),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(lines.len())
        .y_label_formatter(&name)
        .x_label_formatter(&|value| format!("{:.0} k", value / 1000.0))
        .draw()
        .map_err(drawn)?;
    for (row, (line, spread)) in (0..bars).rev().zip(&lines) {
        let colour = match line.name.as_str() {
            name if name.starts_with("limit") || name.starts_with("the same") => LIMIT,
            name if name.starts_with("exactly once") => OURS,
            _ => PEER,
        };
        let (low, high) = (SegmentValue::Exact(row), SegmentValue::Exact(row + 1));
        let mut bar = Rectangle::new([(0.0, low), (spread.median, high)], colour.filled());
        bar.set_margin(5, 5, 0, 0);
        let middle = SegmentValue::CenterOf(row);
        let whisker = PathElement::new([(spread.min, middle.clone()), (spread.max, middle)], BLACK);
        chart.draw_series([bar]).map_err(drawn)?;
        chart.draw_series([whisker]).map_err(drawn)?;
    }
    area.present().map_err(drawn)
}
