//! What goes in and what comes out.

use std::fmt;

/// How much a record matters when there is not room for all. Greater is more important.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Loss and tamper notices, and other news that a later one of its kind makes stale.
    Notice,
    /// Policies taken up or refused, and other states that the controller can ask for again.
    State,
    /// Detections, isolations, receipts: what an investigation stands on.
    Evidence,
}

impl Class {
    pub(crate) const ALL: [Self; 3] = [Self::Notice, Self::State, Self::Evidence];

    /// The number on the disk. Never reused.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Notice => 0,
            Self::State => 1,
            Self::Evidence => 2,
        }
    }

    /// An unknown number was written by a newer agent: it is kept as long as anything is.
    pub(crate) fn from_code(code: u8) -> Self {
        let known = Self::ALL.into_iter().find(|class| class.code() == code);
        known.unwrap_or(Self::Evidence)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notice => "notice",
            Self::State => "state",
            Self::Evidence => "evidence",
        })
    }
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Sequence of the first record of the call; the others follow without holes.
    pub first: u64,
    /// Sequence of the last one.
    pub last: u64,
    /// Records that had to go for the quota's sake, records of this very call included.
    pub dropped: u64,
}

/// Where a record stands among all that are pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub(crate) boot: u64,
    pub(crate) sequence: u64,
}

/// A record that was not acknowledged yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// To go on behind it: [`crate::Spool::pending`].
    pub position: Position,
    /// The boot that wrote it.
    pub boot_id: String,
    /// Unique within that boot.
    pub sequence: u64,
    /// As it was appended.
    pub json: Vec<u8>,
}

/// A hole in what the outbox kept, until it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Records of one class and boot that went for the quota's sake.
    OverQuota {
        /// The boot that wrote them.
        boot_id: String,
        /// What they were.
        class: Class,
        /// The lowest sequence among them.
        first: u64,
        /// The highest sequence among them; records between the two may still be there.
        last: u64,
        /// How many.
        count: u64,
    },
    /// The database was damaged and a new one was begun. How many records were in it is not known.
    Damaged {
        /// Name of the set-aside file, in the outbox's directory.
        file: String,
        /// What was wrong with it.
        why: String,
    },
}

impl Gap {
    /// How many records are known to be missing; 0 when that is not known.
    pub fn count(&self) -> u64 {
        match self {
            Self::OverQuota { count, .. } => *count,
            Self::Damaged { .. } => 0,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverQuota {
                boot_id,
                class,
                first,
                last,
                count,
            } => write!(
                f,
                "outbox over quota: {count} {class} records between sequences {first} and {last} of boot {boot_id} dropped"
            ),
            Self::Damaged { file, why } => {
                write!(
                    f,
                    "outbox damaged ({why}): set aside as {file}, records in it not sent"
                )
            }
        }
    }
}

/// What is in the outbox now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records not acknowledged yet.
    pub records: u64,
    /// What they cost on the disk, by [`Stats::cost`]: what the quota counts.
    pub bytes: u64,
}

impl Stats {
    /// Bytes that a record costs beside its text: two keys and its share of their pages.
    pub const OVERHEAD: u64 = 96;
    /// Bytes of one page of the store.
    const PAGE: u64 = 4096;

    /// What a record with `json_len` bytes of text costs. Small ones share pages; one of more than
    /// half a page has pages of its own, and their number is a power of two.
    pub fn cost(json_len: u64) -> u64 {
        let bytes = json_len + Self::OVERHEAD;
        if bytes <= Self::PAGE / 2 {
            bytes
        } else {
            bytes.next_power_of_two().max(Self::PAGE)
        }
    }

    pub(crate) fn add(&mut self, json_len: u64) {
        self.records += 1;
        self.bytes += Self::cost(json_len);
    }

    pub(crate) fn remove(&mut self, json_len: u64) {
        self.records -= 1;
        self.bytes -= Self::cost(json_len);
    }
}
