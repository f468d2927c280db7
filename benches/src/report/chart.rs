//! Charts: drawings of tables, as SVG.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::contender::{ETERNAL, FLEETING};
use crate::number::number;
use crate::table::{Table, Tables};

use super::group::Panel;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const INK: RGBColor = RGBColor(0x26, 0x2b, 0x33);
const FAINT: RGBColor = RGBColor(0xd9, 0xde, 0xe5);
const PEER: RGBColor = RGBColor(0x8f, 0xa3, 0xb8);
const ACCENT: RGBColor = RGBColor(0xd9, 0x48, 0x0f);
const LIGHT_ACCENT: RGBColor = RGBColor(0xf2, 0x9d, 0x6b);

/// Peers' lines have to be told apart.
const PEERS: [RGBColor; 12] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0xe3, 0x77, 0xc2),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0xbc, 0xbd, 0x22),
    RGBColor(0x17, 0xbe, 0xcf),
    RGBColor(0x39, 0x3b, 0x79),
    RGBColor(0x63, 0x79, 0x39),
    RGBColor(0x8c, 0x6d, 0x31),
    RGBColor(0x84, 0x3c, 0x39),
];

const FONT: &str = "sans-serif";
const TITLE_SIZE: i32 = 20;
const PANEL_TITLE_SIZE: i32 = 15;
const LABEL_SIZE: i32 = 13;

/// In pixels.
const PANEL_WIDTH: i32 = 560;
const LINES_HEIGHT: i32 = 460;
const HEADER: i32 = 44;
const PANEL_HEADER: i32 = 34;
const BAR_PITCH: i32 = 22;
const BAR: i32 = 15;
const NAMES: i32 = 132;
const VALUES: i32 = 72;
const MARGIN: i32 = 16;
const LABEL_PITCH: i32 = 15;

/// How often names that lie over each other are moved apart a little.
const RELAXATIONS: usize = 200;

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
    write_title(&root, title)?;
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
            ETERNAL => (LIGHT_ACCENT, ACCENT),
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
    write_title(&root, title)?;
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
            ends.push((chart.backend_coord(end), line));
        }
    }
    // Coordinates of the backend are those of the whole drawing.
    let (x, y) = area.get_base_pixel();
    for ((end_x, _), name_y, line) in spread(ends) {
        let at = (end_x - x + 10, name_y - y);
        area.draw(&text(line.name, at, LABEL_SIZE, line.color, HPos::Left, VPos::Center))?;
    }
    Ok(())
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

/// Moves names apart until none lies over another.
fn spread<'a>(mut ends: Vec<((i32, i32), &'a Line<'a>)>) -> Vec<((i32, i32), i32, &'a Line<'a>)> {
    ends.sort_by_key(|&((_, y), _)| y);
    let mut ys: Vec<f64> = ends.iter().map(|&((_, y), _)| f64::from(y)).collect();
    for _ in 0..RELAXATIONS {
        for place in 1..ys.len() {
            let missing = f64::from(LABEL_PITCH) - (ys[place] - ys[place - 1]);
            if missing > 0.0 {
                ys[place - 1] -= missing / 2.0;
                ys[place] += missing / 2.0;
            }
        }
    }
    ends.into_iter().zip(ys).map(|((end, line), y)| (end, floor(y), line)).collect()
}

/// The name of the point at `x`, if there is one.
fn label(panel: &Panel, x: f64) -> String {
    let is_here = |&position: &usize| (f64::from(pixels(position)) - x).abs() < 0.01;
    let position = (0..panel.points.len()).find(is_here);
    position.map(|position| panel.points[position].0.to_owned()).unwrap_or_default()
}

fn write_title(root: &Area<'_>, title: &str) -> Drawn {
    root.draw(&text(title, (MARGIN, MARGIN), TITLE_SIZE, INK, HPos::Left, VPos::Top))?;
    let width = i32::try_from(root.dim_in_pixel().0)?;
    let corner = (width - MARGIN, MARGIN + 5);
    root.draw(&text(NOTE, corner, LABEL_SIZE, PEER, HPos::Right, VPos::Top))?;
    Ok(())
}

fn text<'a>(
    text: impl Into<std::borrow::Cow<'a, str>>,
    at: (i32, i32),
    size: i32,
    color: RGBColor,
    horizontal: HPos,
    vertical: VPos,
) -> Text<'a, (i32, i32), std::borrow::Cow<'a, str>> {
    let style = (FONT, size).into_font().color(&color).pos(Pos::new(horizontal, vertical));
    Text::new(text.into(), at, style)
}

fn pixels(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn unsigned((width, height): (i32, i32)) -> (u32, u32) {
    (width.unsigned_abs(), height.unsigned_abs())
}

#[expect(clippy::cast_possible_truncation, reason = "drawings are small")]
fn floor(value: f64) -> i32 {
    value.floor() as i32
}
