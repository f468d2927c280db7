//! Plot: the curves, as SVG.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::options::Ttl;

use super::advice::Advice;
use super::grid::Cell;
use super::policy::PolicyChoice;
use super::refusal::Refusal;
use super::report::Report;
use super::table::ttl_name;

const INK: RGBColor = RGBColor(0x26, 0x2b, 0x33);
const FAINT: RGBColor = RGBColor(0xd9, 0xde, 0xe5);
const COLORS: [RGBColor; 6] = [
    RGBColor(0x7f, 0x8c, 0x9b),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xd9, 0x48, 0x0f),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
];

const FONT: &str = "sans-serif";
const TITLE_SIZE: i32 = 22;
const PANEL_TITLE_SIZE: i32 = 17;
const LABEL_SIZE: i32 = 15;

/// In pixels.
const PANEL: (u32, u32) = (640, 420);
const HEADER: u32 = 44;
const MARGIN: i32 = 16;
const LABELS: i32 = 44;
const SWATCH: i32 = 18;

type Drawn = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the hit rates over the sizes into a file: a panel for each TTL, a line for each policy.
/// Where nothing was found out, there is nothing to draw.
pub(crate) fn plot(report: &Report, path: &Path) -> Result<(), Refusal> {
    if report.cells.is_empty() {
        return Ok(());
    }
    draw(report, path).map_err(|error| {
        let (path, error) = (path.to_owned(), error.to_string());
        Refusal::Plot { path, error }
    })
}

fn draw(report: &Report, path: &Path) -> Drawn {
    let ttls = report.ttls();
    let columns = ttls.len().min(2);
    let rows = ttls.len().div_ceil(columns);
    let size = (PANEL.0 * pixels(columns), HEADER + PANEL.1 * pixels(rows));
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let title = (FONT, TITLE_SIZE).into_font().color(&INK);
    let root = root.titled(&format!("Hit rates of {}", report.source), title)?;
    for (panel, ttl) in root.split_evenly((rows, columns)).iter().zip(ttls) {
        draw_panel(panel, report, ttl)?;
    }
    Ok(root.present()?)
}

fn draw_panel(area: &Area<'_>, report: &Report, ttl: Ttl) -> Drawn {
    let sizes = || report.cells.iter().map(entries);
    let (least, most) = (sizes().fold(f64::MAX, f64::min), sizes().fold(1.0, f64::max));
    let mut chart = ChartBuilder::on(area)
        .caption(
            format!("TTL: {}", ttl_name(ttl)),
            (FONT, PANEL_TITLE_SIZE).into_font().color(&INK),
        )
        .margin(MARGIN)
        .x_label_area_size(LABELS)
        .y_label_area_size(LABELS)
        // One size alone still needs an axis.
        .build_cartesian_2d((least..most.max(least + 1.0)).log_scale(), 0.0..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .x_desc("entries")
        .y_desc("hit rate in %")
        .x_label_formatter(&|size| format!("{size:.0}"))
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .label_style((FONT, LABEL_SIZE).into_font().color(&INK))
        .draw()?;
    for (policy, color) in report.policies().into_iter().zip(COLORS.iter().cycle()) {
        let cells = || of_line(report, ttl, policy);
        let points = cells().map(|cell| (entries(cell), 100.0 * cell.estimate.hit_rate));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(3))?
            .label(policy.title())
            .legend(move |(x, y)| {
                PathElement::new([(x, y), (x + SWATCH, y)], color.stroke_width(2))
            });
        let errors = cells().filter(|cell| cell.estimate.error > 0.0).map(|cell| {
            let (hit_rate, error) = (cell.estimate.hit_rate, cell.estimate.error);
            let end = |rate: f64| (entries(cell), 100.0 * rate.clamp(0.0, 1.0));
            PathElement::new([end(hit_rate - error), end(hit_rate + error)], color.stroke_width(1))
        });
        chart.draw_series(errors)?;
    }
    let advice = report.advice.iter().map(Advice::cell).filter(|cell| cell.setting.ttl == ttl);
    let marks = advice.map(|cell| {
        Circle::new((entries(&cell), 100.0 * cell.estimate.hit_rate), 9, INK.stroke_width(2))
    });
    chart
        .draw_series(marks)?
        .label("advice")
        .legend(|(x, y)| Circle::new((x + SWATCH / 2, y), 5, INK.stroke_width(2)));
    chart
        .configure_series_labels()
        .position(legend_position(report, ttl))
        .background_style(WHITE.mix(0.8))
        .border_style(FAINT)
        .label_font((FONT, LABEL_SIZE).into_font().color(&INK))
        .draw()?;
    Ok(())
}

/// Where the curves are not: they rise from left to right, and begin low or high.
fn legend_position(report: &Report, ttl: Ttl) -> SeriesLabelPosition {
    let mut cells = report.cells.iter().filter(|cell| cell.setting.ttl == ttl);
    match cells.next() {
        Some(first) if first.estimate.hit_rate > 0.4 => SeriesLabelPosition::LowerRight,
        _ => SeriesLabelPosition::UpperLeft,
    }
}

fn of_line(report: &Report, ttl: Ttl, policy: PolicyChoice) -> impl Iterator<Item = &Cell> {
    let cells = report.cells.iter();
    cells.filter(move |cell| (cell.setting.ttl, cell.setting.policy) == (ttl, policy))
}

#[expect(clippy::cast_precision_loss, reason = "pixels are coarse")]
fn entries(cell: &Cell) -> f64 {
    cell.setting.max_size as f64
}

fn pixels(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
