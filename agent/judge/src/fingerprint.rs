//! What a model reads of a story, in eight bytes: for questions that come again word for word.
//!
//! Reading a story as the model does costs tens of microseconds; most stories of a busy host were judged a moment
//! ago, with another pid. [`Reads::hash`] names what is read, so that neither the id nor
//! anything else that the model is not shown makes two questions of one. The hash has a random key: an attacker
//! writes the text, and must not be able to make two stories that are taken for one.

use std::hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState};

use cordon_behavior::story::Story;
use cordon_model::Reads;

/// Two stories with the same fingerprint of one [`Fingerprints`] and one model are read the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// As a number, the same for the same fingerprint as long as the judge lives.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// Takes fingerprints.
#[derive(Debug, Default)]
pub struct Fingerprints {
    key: RandomState,
}

impl Fingerprints {
    /// Of one story, as `reads` lets a model read it.
    pub fn of(&self, story: &Story, reads: &Reads) -> Fingerprint {
        self.of_hashed(|hasher| reads.hash(story, hasher))
    }

    /// Of whatever `hash` hashes.
    pub(crate) fn of_hashed(&self, hash: impl FnOnce(&mut DefaultHasher)) -> Fingerprint {
        let mut hasher = self.key.build_hasher();
        hash(&mut hasher);
        Fingerprint(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(json: &str) -> Story {
        Story::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn the_id_says_nothing_and_every_other_word_does() {
        let (fingerprints, reads) = (Fingerprints::default(), Reads::everything());
        let base = r#"{"id":"1@2","process":{"exe":"/bin/ls","argv":["ls","-l"],"uid":0},
            "ancestors":[{"exe":"/bin/sh","argv":["sh"]}],
            "connections":[{"direction":"out","protocol":"tcp","address":"192.0.2.1","port":80}]}"#;
        let of = |json: &str| fingerprints.of(&story(json), &reads);
        let own = of(base);
        assert_eq!(of(&base.replace("1@2", "3@4")), own);
        for (from, to) in [
            ("-l", "-a"),
            (r#""ls","-l""#, r#""ls-l""#),
            (r#""ls","-l""#, r#""l","s-l""#),
            (r#""uid":0"#, r#""uid":1"#),
            (r#","uid":0"#, ""),
            (r#""uid":0"#, r#""euid":0"#),
            ("192.0.2.1", "192.0.2.2"),
            (":80", ":81"),
            ("/bin/sh", "/bin/bash"),
            ("ancestors", "children"),
        ] {
            let other = base.replace(from, to);
            assert_ne!(other, base);
            assert_ne!(of(&other), own, "{from} -> {to}");
        }
    }

    #[test]
    fn another_key_gives_another_fingerprint() {
        let story = story(r#"{"id":"x","command":"ls"}"#);
        let of = |prints: &Fingerprints| prints.of(&story, &Reads::everything());
        assert_ne!(of(&Fingerprints::default()), of(&Fingerprints::default()));
    }
}
