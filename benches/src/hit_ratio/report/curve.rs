//! Curves: the hit ratios on a trace against the size of the cache, as SVG.

use std::path::Path;

use plotters::prelude::*;

use crate::drawing::{
    ACCENT, Area, Drawn, FAINT, FONT, HEADER, INK, LABEL_SIZE, LIGHT_ACCENT, MARGIN, NAMES, PEER,
    PEERS, unsigned, write_names, write_title,
};
use crate::hit_ratio::comparison::Row;
use crate::hit_ratio::contender::{Contender, Family};

/// In pixels.
const SIZE: (i32, i32) = (760, 520);

const NOTE: &str = "percent, by entries on a logarithmic scale";

/// fleeting's policies, the last one apart.
const OWN: [RGBColor; 5] = [
    RGBColor(0xf2, 0xc1, 0x4e),
    RGBColor(0xf2, 0x9d, 0x6b),
    RGBColor(0xd6, 0x6b, 0x8c),
    RGBColor(0xb5, 0x65, 0x1d),
    RGBColor(0xb0, 0x2a, 0x30),
];

/// One contender's hit ratios by entries.
struct Line {
    name: &'static str,
    color: RGBColor,
    width: u32,
    points: Vec<(f64, f64)>,
}

/// Draws a line for each contender. All rows are of one trace.
pub(super) fn draw(path: &Path, contenders: &[&Contender], rows: &[Row]) -> Drawn {
    let root = SVGBackend::new(path, unsigned(SIZE)).into_drawing_area();
    root.fill(&WHITE)?;
    write_title(&root, &rows[0].trace, NOTE)?;
    let (_, area) = root.split_vertically(HEADER);
    draw_lines(&area, &lines(contenders, rows))?;
    Ok(root.present()?)
}

fn draw_lines(area: &Area<'_>, lines: &[Line]) -> Drawn {
    let points = || lines.iter().flat_map(|line| &line.points);
    let sizes = points().map(|&(size, _)| size);
    let (least, most) = (sizes.clone().fold(f64::INFINITY, f64::min), sizes.fold(0.0, f64::max));
    if least > most {
        return Ok(());
    }
    let highest = points().map(|&(_, percent)| percent).fold(1.0, f64::max);
    // A single size needs some room, too.
    let range = (least * 0.95..most * 1.05).log_scale();
    let mut chart = ChartBuilder::on(area)
        .margin_left(MARGIN)
        .margin_right(NAMES + MARGIN)
        .margin_bottom(MARGIN)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(range, 0.0..highest * 1.03)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(PEER)
        .x_label_formatter(&|&size| format!("{size:.0}"))
        .y_label_formatter(&|&percent| format!("{percent:.0}"))
        .label_style((FONT, LABEL_SIZE).into_font().color(&INK))
        .draw()?;
    let mut ends = Vec::new();
    for line in lines {
        let style = line.color.stroke_width(line.width);
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        let dots =
            line.points.iter().map(|&at| Circle::new(at, line.width + 1, line.color.filled()));
        chart.draw_series(dots)?;
        ends.extend(
            line.points.last().map(|end| (chart.backend_coord(end), line.name, line.color)),
        );
    }
    write_names(area, ends)
}

fn lines(contenders: &[&Contender], rows: &[Row]) -> Vec<Line> {
    let mut own = OWN.into_iter();
    let mut peers = PEERS.into_iter().cycle();
    let mut lines = Vec::new();
    for (column, contender) in contenders.iter().enumerate() {
        let (color, width) = match contender.family {
            Family::Fleeting if contender.needs_time => (LIGHT_ACCENT, 2),
            Family::Fleeting => (own.next().unwrap_or(ACCENT), 4),
            Family::Exact => (INK, 1),
            Family::Peer => (peers.next().unwrap_or(PEER), 2),
        };
        let points = rows.iter().filter_map(|row| point(row, column)).collect();
        lines.push(Line { name: contender.name, color, width, points });
    }
    lines
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 entries")]
fn point(row: &Row, column: usize) -> Option<(f64, f64)> {
    Some((row.size.entries as f64, 100.0 * row.ratios[column]?))
}
