//! Key: what a request asks for, as the cache and the database know it.

use std::fmt;
use std::sync::Arc;

use fleeting::Equivalent;
use rusqlite::ToSql;
use rusqlite::types::ToSqlOutput;

/// A key that can be kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Number(u64),
    Text(Arc<str>),
}

/// A key in the line it was read from. Hashes as the [`Key`] it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyRef<'a> {
    Number(u64),
    Text(&'a str),
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        match (self, key) {
            (Self::Number(number), Key::Number(other)) => number == other,
            (Self::Text(text), Key::Text(other)) => **text == **other,
            _ => false,
        }
    }
}

impl From<KeyRef<'_>> for Key {
    fn from(key: KeyRef<'_>) -> Self {
        match key {
            KeyRef::Number(number) => Self::Number(number),
            KeyRef::Text(text) => Self::Text(text.into()),
        }
    }
}

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            // SQLite has signed integers only: the same 64 bits, read otherwise.
            Self::Number(number) => Ok(i64::from_ne_bytes(number.to_ne_bytes()).into()),
            Self::Text(text) => text.to_sql(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn a_borrowed_key_finds_the_key_it_stands_for() {
        let hasher = foldhash::fast::FixedState::default();
        for borrowed in [KeyRef::Number(7), KeyRef::Text("7"), KeyRef::Text("")] {
            let key = Key::from(borrowed);
            assert_eq!(hasher.hash_one(borrowed), hasher.hash_one(&key));
            assert!(borrowed.equivalent(&key));
        }
        assert!(!KeyRef::Text("7").equivalent(&Key::Number(7)));
    }
}
