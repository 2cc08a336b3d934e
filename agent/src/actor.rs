//! Who a process is, for records about what it did to the agent.

use cordon_proto::record::Actor;

/// As long as it lives; what `/proc` does not show any more stays unknown.
pub(crate) fn of_pid(pid: u32, uid: Option<u32>) -> Actor {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe"));
    let exe = exe.map(|path| path.to_string_lossy().into_owned());
    Actor {
        pid,
        uid: uid.or_else(|| uid_of(pid)),
        exe: exe.or_else(|_| name_of(pid)).unwrap_or_default(),
    }
}

/// As a sentence ends with it.
pub(crate) fn in_words(actor: &Actor) -> String {
    let Actor { pid, uid, exe } = actor;
    let exe = if exe.is_empty() {
        "a process"
    } else {
        exe.as_str()
    };
    let uid = uid.map_or_else(String::new, |uid| format!(", uid {uid}"));
    match pid {
        0 => format!("{exe} outside of this namespace{uid}"),
        _ => format!("{exe} (pid {pid}{uid})"),
    }
}

fn name_of(pid: u32) -> std::io::Result<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
    Ok(name.trim_end().to_owned())
}

/// The real one.
fn uid_of(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_named_and_one_that_is_gone_is_not_made_up() {
        let own = of_pid(std::process::id(), None);
        let exe = std::env::current_exe().unwrap();
        assert_eq!(own.exe, exe.to_string_lossy());
        assert_eq!(own.uid, Some(nix::unistd::getuid().as_raw()));
        // No pid is as large as this.
        let gone = of_pid(u32::MAX, Some(5));
        assert_eq!((gone.exe.as_str(), gone.uid), ("", Some(5)));
        assert_eq!(in_words(&gone), "a process (pid 4294967295, uid 5)");
    }
}
