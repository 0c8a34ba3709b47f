//! A sign of life while something long is being made: on a terminal only, and not when the user wants silence.

use crate::message::{self, Level};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// A number of bytes in words for people.
#[must_use]
pub fn amount(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// A line that says what is being made and how much of it there is; it disappears when dropped.
#[derive(Debug)]
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Shows `doing`, such as "Packing", where there is somebody to see it.
    #[must_use]
    pub fn of(doing: &'static str) -> Self {
        Self::shown(doing, None, "{spinner} {msg}  {bytes}  {elapsed}")
    }

    /// The same for something of which it is known how many bytes there will be.
    #[must_use]
    pub fn towards(doing: &'static str, bytes: u64) -> Self {
        Self::shown(doing, Some(bytes), "{spinner} {msg}  {bytes} of {total_bytes}  {elapsed}")
    }

    fn shown(doing: &'static str, bytes: Option<u64>, template: &str) -> Self {
        let seen = std::io::stderr().is_terminal() && !message::dumb_terminal();
        if !seen || message::threshold() < Level::Info as i8 {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(doing);
        Self(Some(bar))
    }

    /// Shows that there are `bytes` by now.
    pub fn reached(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(bytes);
            bar.tick();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
