//! Fingerprints of images, and a set of them whose size never changes.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use cordon_behavior::event::FileIdentity;
use siphasher::sip::SipHasher13;

/// Makes fingerprints that nobody who does not have it can make collide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key(pub u64, pub u64);

impl Key {
    /// One that nobody had before.
    pub(crate) fn random() -> Self {
        // The standard library's hashers are keyed by the kernel's random numbers.
        let number = || RandomState::new().hash_one(0);
        Self(number(), number())
    }

    /// The fingerprint of an image. The device is left out: a container's file system has another one
    /// at each start. Never 0.
    pub(crate) fn print(self, path: &str, identity: &FileIdentity) -> u64 {
        self.print_with(path, identity, 0)
    }

    /// The same, for this very file system.
    pub(crate) fn exact_print(self, path: &str, identity: &FileIdentity) -> u64 {
        self.print_with(path, identity, identity.device)
    }

    fn print_with(self, path: &str, identity: &FileIdentity, device: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        for number in [device, identity.inode, identity.mtime_ns, identity.size] {
            hasher.write(&number.to_le_bytes());
        }
        hasher.write(path.as_bytes());
        hasher.finish().max(1)
    }
}

const WAYS: usize = 8;

/// A set of fingerprints in buckets of eight. In a full bucket the new one takes the place of one that was
/// not asked for lately. One thread changes it; others may copy it meanwhile.
#[derive(Debug)]
pub(crate) struct Prints {
    buckets: Vec<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    prints: [AtomicU64; WAYS],
    /// A bit for each that was used since all the others were.
    used: AtomicU8,
}

/// What came of putting a fingerprint in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It was there.
    Known,
    /// It was not.
    New,
    /// It was not, and another had to go.
    InPlaceOfAnother,
}

impl Prints {
    /// Room for some `most` fingerprints, rounded up to a power of two.
    pub(crate) fn new(most: usize) -> Self {
        let buckets = most.div_ceil(WAYS).next_power_of_two();
        Self {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
        }
    }

    pub(crate) fn has(&self, print: u64) -> bool {
        let bucket = self.bucket(print);
        let place = bucket.place(print);
        if let Some(place) = place {
            bucket.touch(place);
        }
        place.is_some()
    }

    pub(crate) fn put(&self, print: u64) -> Put {
        let bucket = self.bucket(print);
        if let Some(place) = bucket.place(print) {
            bucket.touch(place);
            return Put::Known;
        }
        let (place, put) = match bucket.place(0) {
            Some(free) => (free, Put::New),
            None => (bucket.oldest(), Put::InPlaceOfAnother),
        };
        bucket.prints[place].store(print, Ordering::Relaxed);
        bucket.touch(place);
        put
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = u64> {
        let all = self.buckets.iter().flat_map(|bucket| &bucket.prints);
        all.map(|print| print.load(Ordering::Relaxed))
            .filter(|print| *print != 0)
    }

    /// What it takes in memory, however many there are.
    pub(crate) fn bytes(&self) -> u64 {
        (self.buckets.len() * size_of::<Bucket>()) as u64
    }

    fn bucket(&self, print: u64) -> &Bucket {
        &self.buckets[print as usize & (self.buckets.len() - 1)]
    }
}

impl Bucket {
    fn place(&self, print: u64) -> Option<usize> {
        self.prints
            .iter()
            .position(|known| known.load(Ordering::Relaxed) == print)
    }

    fn touch(&self, place: usize) {
        let used = self.used.load(Ordering::Relaxed) | 1 << place;
        let used = if used == u8::MAX { 1 << place } else { used };
        self.used.store(used, Ordering::Relaxed);
    }

    fn oldest(&self) -> usize {
        // At least one bit is clear after every touch.
        self.used.load(Ordering::Relaxed).trailing_ones() as usize % WAYS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_just_put_is_there_and_the_size_never_changes(
            prints in proptest::collection::vec(1..2000u64, 1..500),
        ) {
            let set = Prints::new(64);
            let bytes = set.bytes();
            for print in prints {
                let was_there = set.has(print);
                prop_assert_eq!(was_there, set.put(print) == Put::Known);
                prop_assert!(set.has(print));
                prop_assert!(set.all().count() <= 64);
                prop_assert_eq!(set.bytes(), bytes);
            }
        }
    }

    #[test]
    fn one_that_is_used_outlives_a_flood_of_others() {
        let set = Prints::new(8);
        set.put(1);
        for other in 2..1000 {
            set.put(other);
            assert!(set.has(1), "after {other}");
        }
    }
}
