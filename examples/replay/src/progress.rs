//! Progress: a bar on the terminal, and nothing where there is none.

use indicatif::{ProgressBar, ProgressStyle};

/// Returns a bar of `length` steps under a title. It vanishes when dropped.
pub(crate) fn bar(title: &'static str, length: usize) -> Bar {
    let bar = ProgressBar::new(length as u64).with_message(title);
    let style = ProgressStyle::with_template("{msg:20} {wide_bar} {human_pos} of {human_len}");
    Bar(bar.with_style(style.expect("the template is valid")))
}

/// Returns a count of steps under a title, for work of unknown length.
pub(crate) fn counter(title: &'static str) -> Bar {
    let bar = ProgressBar::no_length().with_message(title);
    let style = ProgressStyle::with_template("{msg:20} {human_pos}");
    Bar(bar.with_style(style.expect("the template is valid")))
}

/// A line on the terminal that is taken away in the end.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn set(&self, position: usize) {
        self.0.set_position(position as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
