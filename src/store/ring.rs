//! Circular lists of entries, linked by index; each list has an end of its own.
//!
//! Because a list closes through its end, an entry is unlinked without knowing which list it is in.

use super::arrivals::Token;

/// An entry, or the end of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u32);

/// Set in the place of a ring's end; the rest is the ring's number.
const END: u32 = Token::SPARE_BIT;

impl Place {
    fn end(ring: usize) -> Self {
        Self(END | u32::try_from(ring).expect("rings are few"))
    }

    /// Which ring this is the end of.
    fn ring(self) -> Option<usize> {
        (self.0 & END != 0).then_some((self.0 & !END) as usize)
    }

    fn token(self) -> Option<Token> {
        if self.0 & END == 0 { Token::from_number(self.0) } else { None }
    }
}

impl From<Token> for Place {
    fn from(token: Token) -> Self {
        Self(token.number())
    }
}

/// The neighbours in a ring. What stands alone is its own neighbour.
#[derive(Clone, Copy, Debug)]
struct Links {
    previous: Place,
    next: Place,
}

impl Links {
    fn alone(place: Place) -> Self {
        Self { previous: place, next: place }
    }
}

/// A set of rings: an entry is in one of them, or in none.
pub(super) struct Rings {
    ends: Vec<Links>,
    /// By the token's index; shorter while entries of higher index were never linked.
    links: Vec<Links>,
}

impl Rings {
    pub(super) const fn new() -> Self {
        Self { ends: Vec::new(), links: Vec::new() }
    }

    /// Makes room for rings numbered up to `count`.
    pub(super) fn ensure(&mut self, count: usize) {
        let present = self.ends.len();
        self.ends.extend((present..count).map(|ring| Links::alone(Place::end(ring))));
    }

    #[inline]
    pub(super) fn front(&self, ring: usize) -> Option<Token> {
        self.ends.get(ring)?.next.token()
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn next(&self, token: Token) -> Option<Token> {
        self.links(token.into()).next.token()
    }

    #[inline]
    pub(super) fn is_linked(&self, token: Token) -> bool {
        self.links.get(token.index()).is_some_and(|links| links.next != token.into())
    }

    /// Links an entry that is in no ring.
    pub(super) fn push_back(&mut self, ring: usize, token: Token) {
        let (place, end) = (token.into(), Place::end(ring));
        let present = self.links.len();
        if present <= token.index() {
            let alone =
                |index| Links::alone(Place(u32::try_from(index).expect("tokens have 31 bits")));
            self.links.extend((present..=token.index()).map(alone));
        }
        let last = self.ends[ring].previous;
        *self.links_mut(place) = Links { previous: last, next: end };
        self.links_mut(last).next = place;
        self.ends[ring].previous = place;
    }

    /// Takes an entry out of its ring, if it is in one; tells which ring that left empty.
    pub(super) fn unlink(&mut self, token: Token) -> Option<usize> {
        if !self.is_linked(token) {
            return None;
        }
        let Links { previous, next } = *self.links(token.into());
        self.links_mut(previous).next = next;
        self.links_mut(next).previous = previous;
        *self.links_mut(token.into()) = Links::alone(token.into());
        if previous == next { next.ring() } else { None }
    }

    /// Moves all of one ring to the back of another.
    pub(super) fn append(&mut self, from: usize, to: usize) {
        let Links { previous: last, next: first } = self.ends[from];
        if first.token().is_none() {
            return;
        }
        let before = self.ends[to].previous;
        self.links_mut(before).next = first;
        self.links_mut(first).previous = before;
        self.links_mut(last).next = Place::end(to);
        self.ends[to].previous = last;
        self.ends[from] = Links::alone(Place::end(from));
    }

    fn links(&self, place: Place) -> &Links {
        match place.ring() {
            Some(ring) => &self.ends[ring],
            None => &self.links[place.0 as usize],
        }
    }

    fn links_mut(&mut self, place: Place) -> &mut Links {
        match place.ring() {
            Some(ring) => &mut self.ends[ring],
            None => &mut self.links[place.0 as usize],
        }
    }
}
