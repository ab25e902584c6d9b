//! Single flight: of several nodes with one key, in whatever runs of this process, one runs and the others wait for what
//! it leaves. Knows keys and numbers of nodes, not what they are.

use std::collections::{HashMap, HashSet};

use crate::digest::Digest;
use crate::schedule::NodeId;

#[derive(Debug, Default)]
pub struct Flights {
    by_key: HashMap<Digest, Flight>,
    keys: HashMap<NodeId, Digest>,
    made: HashSet<Digest>,
}

#[derive(Debug, Default)]
struct Flight {
    waiting: Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boarding {
    /// It is the one that runs: [`Flights::landed`] is due when it has ended.
    Flies,
    /// Another one runs with its key: it is given back when that has ended.
    Waits,
}

impl Flights {
    pub fn board(&mut self, key: Digest, node: NodeId) -> Boarding {
        if let Some(flight) = self.by_key.get_mut(&key) {
            flight.waiting.push(node);
            return Boarding::Waits;
        }
        self.by_key.insert(key, Flight::default());
        self.keys.insert(node, key);
        Boarding::Flies
    }

    /// A node has ended, with a result or without. Returns those that waited for it.
    pub fn landed(&mut self, node: NodeId, made: bool) -> Vec<NodeId> {
        let Some(key) = self.keys.remove(&node) else { return Vec::new() };
        if made {
            self.made.insert(key);
        }
        self.by_key.remove(&key).map(|flight| flight.waiting).unwrap_or_default()
    }

    /// Whether a node of this process made the result under this key.
    pub fn has_made(&self, key: Digest) -> bool {
        self.made.contains(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_key_flies_and_the_others_come_back_when_it_has_landed() {
        let (a, b) = (Digest::of_bytes(b"a"), Digest::of_bytes(b"b"));
        let mut flights = Flights::default();
        assert_eq!(flights.board(a, 1), Boarding::Flies);
        assert_eq!(flights.board(a, 2), Boarding::Waits);
        assert_eq!(flights.board(b, 3), Boarding::Flies);
        assert_eq!(flights.board(a, 4), Boarding::Waits);
        assert_eq!(flights.landed(3, true), [0_usize; 0]);
        assert_eq!(flights.landed(1, false), [2, 4]);
        assert!(flights.has_made(b) && !flights.has_made(a));
        assert_eq!(flights.board(a, 2), Boarding::Flies);
        assert_eq!(flights.landed(2, true), [0_usize; 0]);
        assert_eq!(flights.landed(5, true), [0_usize; 0]);
        assert!(flights.has_made(a));
    }
}
