//! What leaves the machine, as it is captured outside of it while it runs.

use std::fs::File;
use std::io::Read as _;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use super::capture::Reader;
use super::frames::{Ends, Tally};
use crate::lab::Node;

const CAPTURE: &str = "/run/guest.pcap";
/// Has QEMU capture what the card sends, and nothing that is sent to it: no address has to be believed.
pub const OPTIONS: [&str; 2] = [
    "-object",
    "filter-dump,id=capture,netdev=lan,queue=rx,file=/run/guest.pcap",
];

/// The capture of a running machine.
pub struct Wire {
    capture: File,
    reader: Reader,
    ends: Ends,
}

impl Wire {
    /// Of the machine in this node, which was started with [`OPTIONS`].
    pub fn open(node: &Node, ends: Ends) -> Result<Self> {
        let path = node.path(CAPTURE);
        let open = || format!("cannot open {}", path.display());
        let capture = File::open(&path).with_context(open)?;
        Ok(Self {
            capture,
            reader: Reader::default(),
            ends,
        })
    }

    /// What left it since this was last asked.
    pub fn take(&mut self) -> Result<Tally> {
        let mut bytes = Vec::new();
        self.capture.read_to_end(&mut bytes)?;
        let mut tally = Tally::default();
        for frame in self.reader.push(&bytes)? {
            tally.add(&frame, &self.ends);
        }
        Ok(tally)
    }

    /// Checks that the capture of a machine that has ended has all of the last frame.
    pub fn end(mut self) -> Result<()> {
        self.take()?;
        ensure!(self.reader.is_whole(), "the capture ends within a frame");
        Ok(())
    }
}

/// The clock of captures, microseconds since 1970, to a second: QEMU begins its own at a full one.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as u64)
}
