//! Charts: drawings of tables, as SVG.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::contender::{ETERNAL, FLEETING};
use crate::drawing::{
    ACCENT, Area, Drawn, FAINT, FONT, HEADER, INK, LABEL_SIZE, LIGHT_ACCENT, MARGIN, NAMES, PEER,
    PEERS, floor, pixels, text, unsigned, write_names, write_title,
};
use crate::number::number;
use crate::table::{Table, Tables};

use super::group::Panel;

const PANEL_TITLE_SIZE: i32 = 15;

/// In pixels.
const PANEL_WIDTH: i32 = 560;
const LINES_HEIGHT: i32 = 460;
const PANEL_HEADER: i32 = 34;
const BAR_PITCH: i32 = 22;
const BAR: i32 = 15;
const VALUES: i32 = 72;

/// Beside the title of a drawing.
const NOTE: &str = "logarithmic scale";

/// Draws a panel for each table: the best contender first, on a logarithmic scale.
pub(super) fn bars(path: &Path, title: &str, tables: &[&Table]) -> Drawn {
    let columns = tables.len().min(2);
    let rows = tables.len().div_ceil(columns);
    let most = tables.iter().map(|table| table.rows.len()).max().unwrap_or_default();
    let height = PANEL_HEADER + pixels(most) * BAR_PITCH + 2 * MARGIN;
    let size = (pixels(columns) * PANEL_WIDTH, HEADER + pixels(rows) * height);
    let root = SVGBackend::new(path, unsigned(size)).into_drawing_area();
    root.fill(&WHITE)?;
    write_title(&root, title, NOTE)?;
    let (_, panels) = root.split_vertically(HEADER);
    for (panel, table) in panels.split_evenly((rows, columns)).iter().zip(tables) {
        bar_panel(panel, table)?;
    }
    Ok(root.present()?)
}

fn bar_panel(area: &Area<'_>, table: &Table) -> Drawn {
    let title = format!("{}, {}", table.title, table.unit.name());
    area.draw(&text(title, (MARGIN, 6), PANEL_TITLE_SIZE, INK, HPos::Left, VPos::Top))?;
    let ranking = table.ranking();
    let values = ranking.iter().map(|row| row.samples.median());
    let scale = LogScale::around(values);
    let bottom = PANEL_HEADER + pixels(ranking.len()) * BAR_PITCH;
    for decade in scale.decades() {
        let x = scale.x(decade);
        area.draw(&PathElement::new([(x, PANEL_HEADER - 4), (x, bottom)], FAINT))?;
        let below = (x, bottom + 2);
        area.draw(&text(number(decade), below, LABEL_SIZE - 2, PEER, HPos::Center, VPos::Top))?;
    }
    for (place, row) in ranking.iter().enumerate() {
        let middle = PANEL_HEADER + pixels(place) * BAR_PITCH + BAR_PITCH / 2;
        let value = row.samples.median();
        let (color, ink) = match row.contender.as_str() {
            FLEETING => (ACCENT, ACCENT),
            name if name.starts_with(FLEETING) => (LIGHT_ACCENT, ACCENT),
            _ => (PEER, INK),
        };
        let bar = [(scale.x(0.0), middle - BAR / 2), (scale.x(value), middle + BAR / 2)];
        area.draw(&Rectangle::new(bar, color.filled()))?;
        let name = (MARGIN + NAMES - 6, middle);
        area.draw(&text(&*row.contender, name, LABEL_SIZE, ink, HPos::Right, VPos::Center))?;
        let beside = (scale.x(value) + 5, middle);
        area.draw(&text(number(value), beside, LABEL_SIZE, ink, HPos::Left, VPos::Center))?;
    }
    Ok(())
}

/// From the decade below the least value to the greatest.
struct LogScale {
    low: i32,
    high: f64,
}

impl LogScale {
    fn around(values: impl Iterator<Item = f64> + Clone) -> Self {
        let least = values.clone().filter(|&value| value > 0.0).fold(f64::INFINITY, f64::min);
        let low = if least.is_finite() { floor(least.log10() - 0.1) } else { 0 };
        let high = values.fold(0.0, f64::max).log10().max(f64::from(low) + 1.0);
        Self { low, high }
    }

    fn x(&self, value: f64) -> i32 {
        let span = self.high - f64::from(self.low);
        let share = ((value.log10() - f64::from(self.low)) / span).clamp(0.0, 1.0);
        MARGIN + NAMES + floor(share * f64::from(PANEL_WIDTH - NAMES - VALUES - 2 * MARGIN))
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low..=floor(self.high)).map(|power| 10_f64.powi(power))
    }
}

/// Draws panels beside each other, with a line for each contender.
pub(super) fn lines(path: &Path, title: &str, panels: &[Panel], tables: &Tables) -> Drawn {
    let size = (pixels(panels.len()) * (PANEL_WIDTH + NAMES), HEADER + LINES_HEIGHT);
    let root = SVGBackend::new(path, unsigned(size)).into_drawing_area();
    root.fill(&WHITE)?;
    write_title(&root, title, NOTE)?;
    let (_, areas) = root.split_vertically(HEADER);
    for (area, panel) in areas.split_evenly((1, panels.len())).iter().zip(panels) {
        line_panel(area, panel, tables)?;
    }
    Ok(root.present()?)
}

/// One contender's medians, along the points that there are.
struct Line<'a> {
    name: &'a str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

fn line_panel(area: &Area<'_>, panel: &Panel, tables: &Tables) -> Drawn {
    area.draw(&text(panel.title, (MARGIN, 6), PANEL_TITLE_SIZE, INK, HPos::Left, VPos::Top))?;
    let lines = lines_of(panel, tables);
    let values = || lines.iter().flat_map(|line| &line.points).map(|&(_, value)| value);
    let least = values().fold(f64::INFINITY, f64::min);
    let most = values().fold(0.0, f64::max);
    if least > most {
        return Ok(());
    }
    let right = f64::from(pixels(panel.points.len() - 1));
    let mut chart = ChartBuilder::on(area)
        .margin_top(PANEL_HEADER)
        .margin_left(MARGIN)
        .margin_right(NAMES + 2 * MARGIN)
        .margin_bottom(MARGIN)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..right, (least * 0.8..most * 1.25).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(PEER)
        .x_labels(panel.points.len())
        .x_label_formatter(&|&x| label(panel, x))
        .y_label_formatter(&|&y| number(y))
        .label_style((FONT, LABEL_SIZE).into_font().color(&INK))
        .draw()?;
    let mut ends = Vec::new();
    for line in &lines {
        let width = if line.name == FLEETING { 4 } else { 2 };
        chart.draw_series(LineSeries::new(line.points.clone(), line.color.stroke_width(width)))?;
        let dots = line.points.iter().map(|&at| Circle::new(at, width + 1, line.color.filled()));
        chart.draw_series(dots)?;
        if let Some(end) = line.points.last() {
            ends.push((chart.backend_coord(end), line.name, line.color));
        }
    }
    write_names(area, ends)
}

fn lines_of<'a>(panel: &Panel, tables: &'a Tables) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    let mut peers = PEERS.into_iter().cycle();
    for (position, (_, measure)) in panel.points.iter().enumerate() {
        for row in tables.get(measure.title).into_iter().flat_map(|table| &table.rows) {
            let point = (f64::from(pixels(position)), row.samples.median());
            if let Some(line) = lines.iter_mut().find(|line| line.name == row.contender) {
                line.points.push(point);
                continue;
            }
            let color = match row.contender.as_str() {
                FLEETING => ACCENT,
                ETERNAL => LIGHT_ACCENT,
                _ => peers.next().unwrap_or(PEER),
            };
            lines.push(Line { name: &row.contender, color, points: vec![point] });
        }
    }
    lines
}

/// The name of the point at `x`, if there is one.
fn label(panel: &Panel, x: f64) -> String {
    let is_here = |&position: &usize| (f64::from(pixels(position)) - x).abs() < 0.01;
    let position = (0..panel.points.len()).find(is_here);
    position.map(|position| panel.points[position].0.to_owned()).unwrap_or_default()
}
