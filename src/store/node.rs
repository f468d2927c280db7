//! Node: what only writes touch of an entry; its place in the eviction order and in the wheel.

use crate::clock::Tick;

use super::ring::{Links, Thread, Token};

/// The cold part of an entry. The hot part lies in the table, and is found by hash and token.
pub(crate) struct Node {
    pub(super) hash: u64,
    /// When the wheel looks at this entry. The entry's own deadline may be later: it was moved, and
    /// the node is linked again only when its first moment comes.
    pub(super) alarm: Tick,
    order: Links,
    timer: Links,
}

impl Node {
    /// Linked nowhere, with no alarm set.
    pub(super) fn new(hash: u64, token: Token) -> Self {
        let alone = Links::alone(token);
        Self { hash, alarm: Tick::NEVER, order: alone, timer: alone }
    }
}

/// The rings of the eviction order.
pub(crate) struct Order;

impl Thread for Order {
    fn links(node: &Node) -> &Links {
        &node.order
    }

    fn links_mut(node: &mut Node) -> &mut Links {
        &mut node.order
    }
}

/// The rings of the timing wheel.
pub(crate) struct Timer;

impl Thread for Timer {
    fn links(node: &Node) -> &Links {
        &node.timer
    }

    fn links_mut(node: &mut Node) -> &mut Links {
        &mut node.timer
    }
}
