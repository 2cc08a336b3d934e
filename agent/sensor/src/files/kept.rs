//! Counted events that wait for the next plan.

/// Most buffers that are kept.
const KEPT: usize = 16;

/// What was counted while a plan was put off: a directory that it will mark may be among it.
#[derive(Default)]
pub(super) struct Kept(Vec<Vec<u8>>);

impl Kept {
    /// Keeps as many as there is room for, and answers how many there was none for.
    pub(super) fn keep(&mut self, buffers: Vec<Vec<u8>>) -> u64 {
        let room = KEPT - self.0.len();
        let over = buffers.len().saturating_sub(room);
        self.0.extend(buffers.into_iter().take(room));
        over as u64
    }

    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut kept = Kept::default();
        assert_eq!(kept.keep(vec![vec![0]; KEPT - 1]), 0);
        assert_eq!(kept.keep(vec![vec![1]; 3]), 2);
        assert_eq!(kept.take().len(), KEPT);
        assert!(kept.take().is_empty());
    }
}
