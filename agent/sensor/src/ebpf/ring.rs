//! The reading end of the ring.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use cordon_behavior::event::Event;
use libbpf_rs::{AsRawLibbpf, RingBuffer, RingBufferBuilder, libbpf_sys};

use super::heirs::Heirs;
use super::skel::SensorSkel;
use super::throttles::Throttles;
use crate::out::Out;
use crate::{SensorError, clock, record};

/// Most records decoded before the callback sees the first of them: bounds memory, and is the window
/// in which records are put in order.
///
/// One ring serves all CPUs and keeps the order in which programs reserved their records. A program is
/// done before what it watches goes on, so the record of a cause is stamped and reserved before any
/// record of its effect, on whatever CPU: causes come first in the ring, and sorting a batch by stamps
/// keeps that. Handed out is therefore: causes before effects, always; stamps in order within a batch;
/// and over the border of two batches, stamps of unrelated events out of order by no more than one
/// program's run. So nothing waits for stragglers. `tests/storm.rs` holds it to that.
pub(super) const BATCH: usize = 512;

pub(super) struct Ring<'a> {
    map: BorrowedFd<'a>,
    reader: RingBuffer<'a>,
    batch: Rc<RefCell<Batch>>,
}

#[derive(Default)]
struct Batch {
    wall_offset_ns: i64,
    events: Vec<Event>,
    malformed: u64,
}

impl<'a> Ring<'a> {
    pub(super) fn new(skel: &'a SensorSkel<'_>) -> Result<Self, SensorError> {
        let failed = |source| SensorError::Ebpf {
            act: "map the event ring",
            source,
        };
        let batch = Rc::new(RefCell::new(Batch::default()));
        let filled = Rc::clone(&batch);
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&skel.maps.ring, move |bytes| {
                filled.borrow_mut().push(bytes);
                0
            })
            .map_err(failed)?;
        let reader = builder.build().map_err(failed)?;
        Ok(Self {
            map: skel.maps.ring.as_fd(),
            reader,
            batch,
        })
    }

    /// Up to [`BATCH`] events in the order of time.
    pub(super) fn read(&self) -> Vec<Event> {
        self.batch.borrow_mut().wall_offset_ns = clock::wall_offset_ns();
        let read = self.reader.consume_raw_n(BATCH);
        if read < 0 {
            tracing::error!(code = read, "cannot read the event ring");
        }
        let mut events = std::mem::take(&mut self.batch.borrow_mut().events);
        events.sort_by_key(|event| event.mono_ns);
        events
    }

    /// Whether nothing lies unread, not even a record that is being written.
    pub(super) fn is_empty(&self) -> bool {
        let (written, read) = self.positions();
        written == read
    }

    /// Everything that programs had begun to write when this was called, and perhaps more.
    pub(super) fn read_up_to_now(&self) -> Vec<Event> {
        let (end, _) = self.positions();
        let mut events = Vec::new();
        // Positions only grow, and a program that writes cannot wait.
        while self.positions().1 < end {
            events.extend(self.read());
        }
        events
    }

    /// Bytes that were ever reserved, and that were ever read.
    fn positions(&self) -> (u64, u64) {
        // SAFETY: a live ring buffer, which has the one ring that was added to it.
        unsafe {
            let ring = libbpf_sys::ring_buffer__ring(self.reader.as_libbpf_object().as_ptr(), 0);
            let written = libbpf_sys::ring__producer_pos(ring);
            (written, libbpf_sys::ring__consumer_pos(ring))
        }
    }

    /// Hands one batch on.
    pub(super) fn deliver(&self, throttles: &mut Throttles, heirs: &mut Heirs, out: &Out) {
        let events = self.read();
        for event in &events {
            throttles.note(event);
            heirs.note(event);
        }
        if !events.is_empty() {
            out.events(events);
        }
        let malformed = std::mem::take(&mut self.batch.borrow_mut().malformed);
        out.loss("ring/malformed", malformed);
    }
}

/// Readable when a record wants to be read. The map itself can be polled, which saves the epoll
/// instance of libbpf around it.
impl AsFd for Ring<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map
    }
}

impl Batch {
    fn push(&mut self, bytes: &[u8]) {
        match record::decode(bytes, self.wall_offset_ns) {
            Ok(event) => self.events.extend(event),
            Err(error) => {
                tracing::error!(%error, "cannot read a record of our own programs");
                self.malformed += 1;
            }
        }
    }
}
