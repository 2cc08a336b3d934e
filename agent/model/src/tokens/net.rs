//! Connections and names that were asked for, as pieces.

use cordon_behavior::story::Connection;

use super::{Field, Sink};
use crate::place;

/// Each class of connection once, however often it was made: how often is a typed fact.
pub(super) fn connections<'a>(connections: impl Iterator<Item = &'a Connection>, sink: &mut Sink) {
    let mut told: Vec<[&str; 4]> = Vec::new();
    for connection in connections.take(256) {
        let class = connection
            .address
            .parse()
            .map_or("@unknown", place::address);
        let direction = if connection.direction == "in" {
            "in"
        } else {
            "out"
        };
        let protocol = if connection.protocol == "udp" {
            "udp"
        } else {
            "tcp"
        };
        let one = [direction, protocol, class, place::port(connection.port)];
        if !told.contains(&one) {
            told.push(one);
            for piece in one {
                sink.put(Field::Connection, piece);
            }
        }
    }
}

pub(super) fn names(names: &[String], sink: &mut Sink) {
    for name in names.iter().take(16) {
        let labels = name.split('.').count();
        let longest = name.split('.').map(str::len).max().unwrap_or(0);
        sink.put(
            Field::Dns,
            ["name", "name", "name2", "name3"]
                .get(labels)
                .copied()
                .unwrap_or("name4"),
        );
        sink.put(
            Field::Dns,
            match longest {
                ..=16 => "short",
                17..=30 => "middling",
                _ => "long",
            },
        );
    }
}
