//! What a log says, before anybody knows which process a pid means.

use cordon_behavior::event::{EventBody, Exec};

/// "No uid", as the kernel writes it.
pub(crate) const NO_UID: u32 = u32::MAX;

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// CLOCK_REALTIME, nanoseconds.
    pub wall_ns: u64,
    pub who: Who,
    pub what: What,
}

/// A process, as a log names it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who {
    /// 0: the log does not say.
    pub pid: u32,
    pub start_ns: Option<u64>,
    /// Of the log's own id of the process.
    pub identity: Option<u64>,
    pub parent: Option<Box<Who>>,
    /// What it runs, told in passing; `parent` in it is not used.
    pub image: Option<Box<Exec>>,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Exec(Box<Exec>),
    Fork(Box<Who>),
    Ptrace(Box<Who>),
    /// What needs no process but the doer.
    Other(EventBody),
}

impl Who {
    pub(crate) fn pid(pid: u32) -> Self {
        Self {
            pid,
            ..Self::default()
        }
    }

    fn bytes(&self) -> usize {
        let image = self.image.as_deref().map_or(0, exec_bytes);
        let parent = self.parent.as_deref().map_or(0, Self::bytes);
        size_of::<Self>() + image + parent
    }
}

impl Seen {
    /// An upper estimate of what it holds.
    pub(crate) fn bytes(&self) -> usize {
        let what = match &self.what {
            What::Exec(exec) => exec_bytes(exec),
            What::Fork(who) | What::Ptrace(who) => who.bytes(),
            What::Other(EventBody::File(change)) => {
                change.path.capacity() + change.to.as_ref().map_or(0, String::capacity) + 64
            }
            What::Other(EventBody::Dns(dns)) => dns.name.capacity() + 16 * 17 + 128,
            What::Other(EventBody::Login(login)) => {
                login.user.capacity() + login.from.capacity() + login.tty.capacity() + 128
            }
            What::Other(EventBody::Mount { path, .. }) => path.capacity(),
            What::Other(_) => 64,
        };
        size_of::<Self>() + self.who.bytes() + what
    }
}

fn exec_bytes(exec: &Exec) -> usize {
    let arguments: usize = exec
        .argv
        .iter()
        .map(|argument| argument.capacity() + size_of::<String>())
        .sum();
    size_of::<Exec>()
        + exec.exe.capacity()
        + exec.script.capacity()
        + exec.cwd.capacity()
        + arguments
}

/// At most `most` bytes of a text, cut at a character.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.shrink_to_fit();
    }
    text
}

/// Longest path that is kept; the kernel's own limit.
pub(crate) const PATH_BYTES: usize = 4096;
/// Most bytes of arguments that are kept of one process, as far as a story shows them.
pub(crate) const ARGV_BYTES: usize = 32 * 1024;

/// Keeps what fits into [`ARGV_BYTES`]; true when there was more.
pub(crate) fn cut_arguments(argv: &mut Vec<String>) -> bool {
    let mut room = ARGV_BYTES;
    for (index, argument) in argv.iter_mut().enumerate() {
        let cost = argument.len() + size_of::<String>();
        if cost > room {
            *argument = cut(
                std::mem::take(argument),
                room.saturating_sub(size_of::<String>()),
            );
            argv.truncate(index + 1);
            argv.shrink_to_fit();
            return true;
        }
        room -= cost;
    }
    false
}

/// A number for a text: two texts with the same one are taken for the same.
pub(crate) fn hash(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}
