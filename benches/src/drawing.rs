//! Drawing: what the charts have in common.

use std::borrow::Cow;
use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Drawn = Result<(), Box<dyn Error>>;

pub(crate) const INK: RGBColor = RGBColor(0x26, 0x2b, 0x33);
pub(crate) const FAINT: RGBColor = RGBColor(0xd9, 0xde, 0xe5);
pub(crate) const PEER: RGBColor = RGBColor(0x8f, 0xa3, 0xb8);
pub(crate) const ACCENT: RGBColor = RGBColor(0xd9, 0x48, 0x0f);
pub(crate) const LIGHT_ACCENT: RGBColor = RGBColor(0xf2, 0x9d, 0x6b);

/// Peers' lines have to be told apart.
pub(crate) const PEERS: [RGBColor; 12] = [
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

pub(crate) const FONT: &str = "sans-serif";
pub(crate) const LABEL_SIZE: i32 = 13;
const TITLE_SIZE: i32 = 20;

/// In pixels.
pub(crate) const HEADER: i32 = 44;
pub(crate) const NAMES: i32 = 132;
pub(crate) const MARGIN: i32 = 16;
const LABEL_PITCH: i32 = 15;

/// How often names that lie over each other are moved apart a little.
const RELAXATIONS: usize = 200;

/// A title, and beside it a note.
pub(crate) fn write_title(root: &Area<'_>, title: &str, note: &str) -> Drawn {
    root.draw(&text(title, (MARGIN, MARGIN), TITLE_SIZE, INK, HPos::Left, VPos::Top))?;
    let width = i32::try_from(root.dim_in_pixel().0)?;
    let corner = (width - MARGIN, MARGIN + 5);
    root.draw(&text(note, corner, LABEL_SIZE, PEER, HPos::Right, VPos::Top))?;
    Ok(())
}

/// Writes names beside the ends of lines. Coordinates are those of the whole drawing.
pub(crate) fn write_names(area: &Area<'_>, ends: Vec<((i32, i32), &str, RGBColor)>) -> Drawn {
    let (x, y) = area.get_base_pixel();
    for ((end_x, _), name_y, (name, color)) in spread(ends, y) {
        let at = (end_x - x + 10, name_y - y);
        area.draw(&text(name, at, LABEL_SIZE, color, HPos::Left, VPos::Center))?;
    }
    Ok(())
}

/// Moves names apart until none lies over another, and none above the top.
fn spread(
    mut ends: Vec<((i32, i32), &str, RGBColor)>,
    top: i32,
) -> impl Iterator<Item = ((i32, i32), i32, (&str, RGBColor))> {
    ends.sort_by_key(|&((_, y), ..)| y);
    let mut ys: Vec<f64> = ends.iter().map(|&((_, y), ..)| f64::from(y)).collect();
    for _ in 0..RELAXATIONS {
        for place in 1..ys.len() {
            let missing = f64::from(LABEL_PITCH) - (ys[place] - ys[place - 1]);
            if missing > 0.0 {
                ys[place - 1] -= missing / 2.0;
                ys[place] += missing / 2.0;
            }
        }
    }
    let mut free = f64::from(top + LABEL_PITCH / 2);
    for y in &mut ys {
        *y = y.max(free);
        free = *y + f64::from(LABEL_PITCH);
    }
    ends.into_iter().zip(ys).map(|((end, name, color), y)| (end, floor(y), (name, color)))
}

pub(crate) fn text<'a>(
    text: impl Into<Cow<'a, str>>,
    at: (i32, i32),
    size: i32,
    color: RGBColor,
    horizontal: HPos,
    vertical: VPos,
) -> Text<'a, (i32, i32), Cow<'a, str>> {
    let style = (FONT, size).into_font().color(&color).pos(Pos::new(horizontal, vertical));
    Text::new(text.into(), at, style)
}

pub(crate) fn pixels(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

pub(crate) fn unsigned((width, height): (i32, i32)) -> (u32, u32) {
    (width.unsigned_abs(), height.unsigned_abs())
}

#[expect(clippy::cast_possible_truncation, reason = "drawings are small")]
pub(crate) fn floor(value: f64) -> i32 {
    value.floor() as i32
}
