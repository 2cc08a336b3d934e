//! One login that two files tell of is told once.

use std::collections::VecDeque;
use std::time::Duration;

use cordon_behavior::event::{Login, LoginMethod};

const WINDOW: Duration = Duration::from_secs(10);
const LIMIT: usize = 256;

/// Where a login was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// wtmp, btmp.
    Accounts,
    /// A log.
    Log,
}

/// What two sources tell alike.
type Key = (LoginMethod, String, String, bool);

/// Logins of the last seconds that the other source has not told of yet.
#[derive(Default)]
pub(super) struct Same {
    waiting: VecDeque<(Duration, Source, Key)>,
}

impl Same {
    /// True when the other source has told of this login. Each is the other's once: five failures in
    /// both are five. `now` is any time that only grows.
    pub(super) fn is_told(&mut self, source: Source, login: &Login, now: Duration) -> bool {
        let is_over = |at: Duration| now.saturating_sub(at) > WINDOW;
        while self.waiting.front().is_some_and(|(at, ..)| is_over(*at)) {
            self.waiting.pop_front();
        }
        // btmp does not name who is not known.
        let user = if login.user == "UNKNOWN" {
            ""
        } else {
            &login.user
        };
        let key = (
            login.method,
            user.to_owned(),
            login.from.clone(),
            login.success,
        );
        let other = |(_, from, told): &(Duration, Source, Key)| *from != source && *told == key;
        if let Some(index) = self.waiting.iter().position(other) {
            self.waiting.remove(index);
            return true;
        }
        if self.waiting.len() >= LIMIT {
            self.waiting.pop_front();
        }
        self.waiting.push_back((now, source, key));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str) -> Login {
        Login {
            user: user.into(),
            ..Login::default()
        }
    }

    #[test]
    fn each_login_is_told_once_however_many_files_have_it() {
        let mut same = Same::default();
        let second = Duration::from_secs;
        let mut told = |source, user, at| !same.is_told(source, &login(user), second(at));
        assert!(told(Source::Log, "a", 0));
        assert!(told(Source::Log, "a", 1));
        assert!(!told(Source::Accounts, "a", 1));
        assert!(!told(Source::Accounts, "a", 2));
        assert!(told(Source::Accounts, "a", 2));
        assert!(told(Source::Accounts, "b", 2));
        // Too late to be the same.
        assert!(told(Source::Log, "b", 20));
    }
}
