//! Format: what the lines of a file mean.

use crate::key::KeyRef;
use crate::stream::Record;

use super::{Expected, access_log, ttl};

/// What the lines of a file mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Numbers,
    Ttl,
    AccessLog,
    Text,
}

impl Format {
    /// Those that can be told from any text.
    const STRICT: [Self; 3] = [Self::AccessLog, Self::Ttl, Self::Numbers];

    /// The format that most of the first lines have, or else one that any of them resembles; any
    /// text, if that is none.
    ///
    /// Not the first line alone: a mistake in it is to be reported, not to change the format.
    pub(super) fn detect<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let lines: Vec<_> = lines.collect();
        let suits = |format: &Self| {
            let suiting = lines.iter().filter(|line| format.suits(line)).count();
            2 * suiting > lines.len()
        };
        let resembles = |format: &Self| lines.iter().any(|line| format.resembles(line));
        let format = Self::STRICT.into_iter().find(suits);
        format.or_else(|| Self::STRICT.into_iter().find(resembles)).unwrap_or(Self::Text)
    }

    /// Whether a line seems to be meant to have the format, and is hardly anything else.
    fn resembles(self, line: &str) -> bool {
        match self {
            Self::AccessLog => access_log::resembles(line),
            Self::Ttl => line == ttl::HEADER,
            Self::Numbers | Self::Text => false,
        }
    }

    /// Whether a malformed line is left out, and does not end the run. A log holds what clients sent,
    /// and may be cut off; in what a program made for us, a mistake is one of the program.
    pub(super) fn may_have_malformed_lines(self) -> bool {
        self == Self::AccessLog
    }

    fn suits(self, line: &str) -> bool {
        self.parse(line).is_ok() || self == Self::Ttl && line == ttl::HEADER
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Numbers => "numbers",
            Self::Ttl => "TTL trace",
            Self::AccessLog => "access log",
            Self::Text => "text",
        }
    }

    /// As the options have it.
    fn option(self) -> &'static str {
        match self {
            Self::Numbers => "--format numbers",
            Self::Ttl => "--format ttl",
            Self::AccessLog => "--format access-log",
            Self::Text => "--format text",
        }
    }

    /// How to read a file of which most lines do not have this format; `has_others` tells whether
    /// some do.
    pub(super) fn remedy(self, has_others: bool) -> String {
        let skips = has_others.then(|| format!("; {} skips them", self.option()));
        let as_text = Self::Text.option();
        let takes = (self != Self::Text).then(|| format!("; {as_text} takes each line as a key"));
        skips.into_iter().chain(takes).collect()
    }

    /// The request in a line; `None` if it has one that nobody would cache.
    pub(super) fn parse(self, line: &str) -> Result<Option<Record<'_>>, Expected> {
        match self {
            Self::Numbers => number(line).map(Some),
            Self::Ttl => ttl::parse(line).map(Some),
            Self::AccessLog => access_log::parse(line),
            Self::Text => Ok(Some(Record { key: KeyRef::Text(line), at: None, ttl: None })),
        }
    }
}

fn number(line: &str) -> Result<Record<'_>, Expected> {
    let number = line.trim().parse();
    let number = number.map_err(|_| Expected("an unsigned 64-bit number, as in other lines"))?;
    Ok(Record { key: KeyRef::Number(number), at: None, ttl: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(text: &str) -> Format {
        Format::detect(text.lines())
    }

    #[test]
    fn each_format_is_known_by_its_lines() {
        assert_eq!(detect("1\n2\n"), Format::Numbers);
        assert_eq!(detect("# timestamp_s key size_bytes ttl_s op\n0 1 2 3 get"), Format::Ttl);
        assert_eq!(detect("# timestamp_s key size_bytes ttl_s op\n"), Format::Ttl);
        assert_eq!(detect("0 1 2 3 get\n0 1 2 3 get\n"), Format::Ttl);
        assert_eq!(
            detect("::1 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 -"),
            Format::AccessLog
        );
        assert_eq!(detect("user:1\nuser:2\n"), Format::Text);
        assert_eq!(detect(""), Format::Text);
    }

    #[test]
    fn a_mistake_does_not_change_the_format() {
        assert_eq!(detect("1\n2x\n3\n"), Format::Numbers);
        assert_eq!(detect("x\n2\n3\n"), Format::Numbers);
        assert_eq!(detect("1\ntwo\nthree\n"), Format::Text);
        assert_eq!(detect("x\ny\n::1 - - [10/Oct/2000:13:55"), Format::AccessLog);
        assert_eq!(detect("x\ny\n\"GET / HTTP/1.1\" 200 5"), Format::AccessLog);
        assert_eq!(detect("# timestamp_s key size_bytes ttl_s op\n0 1\n0 2\n"), Format::Ttl);
    }
}
