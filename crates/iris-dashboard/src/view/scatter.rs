//! The scatter plot: a model's regions, and the newest points on them.

use askama::Template;

use crate::format;
use crate::geometry::{Scale, Tick};
use crate::scatter::{Point, Regions};

/// The side of the plot, in units of the SVG.
const SIZE: f64 = 440.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = SIZE - 8.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = SIZE - 40.0;

/// The number of colours; further classes share those of earlier ones.
const COLOURS: usize = 8;

#[derive(Template)]
#[template(path = "scatter.html")]
struct ScatterView<'a> {
    title: String,
    size: f64,
    left: f64,
    areas: Vec<Area>,
    dots: Vec<Dot>,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    x_name: &'a str,
    y_name: &'a str,
    classes: &'a [String],
    model_version: &'a str,
}

struct Area {
    class: usize,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

struct Dot {
    class: usize,
    x: f64,
    y: f64,
    is_error: bool,
}

/// Renders a model's regions and the newest points on them.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn scatter(regions: &Regions, points: &[Point]) -> askama::Result<String> {
    let x = Scale::new(regions.x_range, [LEFT, RIGHT]);
    let y = Scale::new(regions.y_range, [BOTTOM, TOP]);
    let (x_name, y_name) = (&regions.features[regions.x], &regions.features[regions.y]);
    let errors = points.iter().filter(|point| point.is_error()).count();
    ScatterView {
        title: format!(
            "{x_name} across and {y_name} up: the regions of the classes, and {} points, {errors} of them mispredicted",
            points.len()
        ),
        size: SIZE,
        left: LEFT,
        areas: areas(regions),
        dots: dots(regions, points, x, y),
        x_ticks: x.ticks(format::short),
        y_ticks: y.ticks(format::short),
        x_name,
        y_name,
        classes: &regions.classes,
        model_version: &regions.model_version,
    }
    .render()
}

fn areas(regions: &Regions) -> Vec<Area> {
    let width = (RIGHT - LEFT) / regions.cells as f64;
    let height = (BOTTOM - TOP) / regions.cells as f64;
    let area = |run: &crate::scatter::Run| Area {
        class: run.class % COLOURS,
        x: LEFT + width * run.x as f64,
        y: BOTTOM - height * (run.y + 1) as f64,
        width: width * run.length as f64,
        height,
    };
    regions.runs.iter().map(area).collect()
}

fn dots(regions: &Regions, points: &[Point], x: Scale, y: Scale) -> Vec<Dot> {
    let class_of = |name: &String| {
        let class = regions.classes.iter().position(|class| class == name);
        class.unwrap_or(regions.classes.len()) % COLOURS
    };
    let dot = |point: &Point| Dot {
        class: class_of(&point.predicted),
        x: x.position(point.x),
        y: y.position(point.y),
        is_error: point.is_error(),
    };
    points.iter().map(dot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scatter::Run;

    #[test]
    fn regions_fill_the_plot_and_errors_are_marked() {
        let run = |class, y| Run {
            class,
            x: 0,
            y,
            length: 2,
        };
        let regions = Regions {
            model_version: "00c0ffee00c0ffee".to_owned(),
            features: vec!["width".to_owned(), "length".to_owned()],
            x: 0,
            y: 1,
            x_range: [0.0, 1.0],
            y_range: [0.0, 1.0],
            classes: vec!["a".to_owned(), "b".to_owned()],
            cells: 2,
            runs: vec![run(0, 0), run(1, 1)],
        };
        let areas = areas(&regions);
        assert_eq!((areas[0].x, areas[0].width), (LEFT, RIGHT - LEFT));
        assert_eq!(areas[1].y, TOP);
        assert_eq!(areas[0].y + areas[0].height, BOTTOM);
        let point = |predicted: &str| Point {
            x: 0.5,
            y: 1.0,
            predicted: predicted.to_owned(),
            actual: Some("a".to_owned()),
            id: None,
        };
        let html = scatter(&regions, &[point("a"), point("b")]).unwrap();
        assert!(html.contains("width across and length up"), "{html}");
        assert!(html.contains("2 points, 1 of them mispredicted"), "{html}");
        assert_eq!(html.matches("<circle class=\"dot c").count(), 4, "{html}");
    }
}
