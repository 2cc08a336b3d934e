//! Counted events that wait for the next plan.

use super::decode::file_notices;

/// Most bytes that are kept.
const KEPT_BYTES: usize = 4 << 20;

/// What was counted while a plan was put off: a directory that it will mark may be among it.
#[derive(Default)]
pub(super) struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Kept {
    /// Keeps the buffers that there is room for, and answers how many events the others have.
    pub(super) fn keep(&mut self, buffers: Vec<Vec<u8>>) -> u64 {
        let mut over = 0;
        for buffer in buffers {
            let bytes = size_of_val(&buffer) + buffer.len();
            if self.bytes + bytes > KEPT_BYTES {
                over += file_notices(&buffer).flatten().count() as u64;
                continue;
            }
            self.bytes += bytes;
            self.buffers.push(buffer);
        }
        over
    }

    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(self).buffers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event of 24 bytes with nothing in it.
    const EVENT: [u8; 24] = {
        let mut event = [0; 24];
        (event[0], event[4], event[6]) = (24, 3, 24);
        event
    };

    #[test]
    fn events_that_there_is_no_room_for_are_counted() {
        let mut kept = Kept::default();
        assert_eq!(kept.keep(vec![vec![0; KEPT_BYTES - 200]]), 0);
        let over = kept.keep(vec![EVENT.repeat(100), EVENT.repeat(2), EVENT.repeat(5)]);
        assert_eq!(over, 105);
        let lengths: Vec<usize> = kept.take().iter().map(Vec::len).collect();
        assert_eq!(lengths, [KEPT_BYTES - 200, 48]);
        assert!(kept.take().is_empty());
        assert_eq!(kept.keep(vec![vec![0; KEPT_BYTES - 200]]), 0);
    }

    #[test]
    fn many_small_buffers_have_a_bound_too() {
        let mut kept = Kept::default();
        let many = KEPT_BYTES / EVENT.len();
        let over = kept.keep(vec![EVENT.to_vec(); many]);
        assert_eq!(over as usize, many - many / 2);
    }
}
