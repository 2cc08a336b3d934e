//! A bounded list of what was seen, each thing once, in the order of its first time.

/// Something that a [`Kept`] list holds.
pub(crate) trait Seen {
    /// The same thing, seen again.
    fn is_same(&self, other: &Self) -> bool;

    /// Takes up what `again`, which is the same thing, adds to it.
    fn merge(&mut self, _again: Self)
    where
        Self: Sized,
    {
    }

    /// Bytes that it holds beside itself. Merging does not change them.
    fn text_bytes(&self) -> usize;

    /// Things of one kind share a bound.
    fn kind(&self) -> u8 {
        0
    }

    /// Where the bound is reached the least telling goes first, the oldest of them.
    fn telling(&self) -> u8 {
        0
    }
}

/// What became of something that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is new.
    New,
    /// It was known.
    Known,
    /// There is no room for anything that says so little, or is so old.
    Dropped,
}

/// The list.
///
/// As long as no bound is reached it holds the same whatever the order in which things arrive: the
/// order is that of their time. Beyond a bound, what came and went again may be new once more.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    items: Vec<(u64, T)>,
    text_bytes: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            text_bytes: 0,
        }
    }
}

impl<T: Seen> Kept<T> {
    /// Adds what was seen at `mono_ns`; keeps at most `most` of its kind, and at least one.
    pub(crate) fn add(&mut self, mono_ns: u64, item: T, most: usize) -> Added {
        let known = self
            .items
            .iter()
            .position(|(_, known)| known.is_same(&item));
        if let Some(known) = known {
            self.again(known, mono_ns, item);
            return Added::Known;
        }
        if let Some(least) = self.least_when_full(item.kind(), most) {
            let (at, known) = &self.items[least];
            if (item.telling(), mono_ns) < (known.telling(), *at) {
                return Added::Dropped;
            }
            let (_, gone) = self.items.remove(least);
            self.text_bytes -= gone.text_bytes();
        }
        self.text_bytes += item.text_bytes();
        self.insert(mono_ns, item);
        Added::New
    }

    /// With the time of the first time each; oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &(u64, T)> {
        self.items.iter()
    }

    /// The same thing, as it is held.
    pub(crate) fn find(&self, thing: &T) -> Option<&T> {
        let all = self.items.iter().map(|(_, known)| known);
        all.into_iter().find(|known| known.is_same(thing))
    }

    /// Forgets what was first seen before `mono_ns`.
    pub(crate) fn forget_before(&mut self, mono_ns: u64) {
        let old = self.items.partition_point(|(at, _)| *at < mono_ns);
        let gone = self.items.drain(..old).map(|(_, item)| item.text_bytes());
        self.text_bytes -= gone.sum::<usize>();
        if self.items.is_empty() {
            self.items = Vec::new();
        }
    }

    /// Bytes held beside the list itself.
    pub(crate) fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<(u64, T)>() + self.text_bytes
    }

    fn again(&mut self, known: usize, mono_ns: u64, item: T) {
        let (first, thing) = &mut self.items[known];
        thing.merge(item);
        if mono_ns < *first {
            let (_, thing) = self.items.remove(known);
            self.insert(mono_ns, thing);
        }
    }

    fn least_when_full(&self, kind: u8, most: usize) -> Option<usize> {
        let kin = || {
            let all = self.items.iter().enumerate();
            all.filter(|(_, (_, known))| known.kind() == kind)
        };
        if kin().count() < most.max(1) {
            return None;
        }
        let least = kin().min_by_key(|(_, (at, known))| (known.telling(), *at))?;
        Some(least.0)
    }

    fn insert(&mut self, mono_ns: u64, item: T) {
        let at = self.items.partition_point(|(first, _)| *first <= mono_ns);
        self.items.insert(at, (mono_ns, item));
    }
}
