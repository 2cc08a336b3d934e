//! Logins and gains of privilege, as PAM, sshd and sudo report them.

use cordon_behavior::event::{EventBody, Login, LoginMethod};

use super::fields::{Fields, Value};
use super::group::id;
use super::record::Record;
use crate::Damage;
use crate::seen::{Seen, What, Who};

const NAME_BYTES: usize = 256;

/// Which record told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// USER_LOGIN.
    Login,
    /// USER_AUTH.
    Auth,
    /// USER_CMD.
    Command,
}

/// `pid=.. uid=.. auid=.. ses=.. msg='op=login acct="x" exe="/usr/sbin/sshd" hostname=.. addr=.. terminal=ssh res=success'`
pub(super) fn tell(record: &Record<'_>, way: Way) -> Result<Option<Seen>, Damage> {
    let fields = record.fields();
    let pid = fields.get("pid").ok_or(Damage::Missing { what: "pid=" })?;
    let pid: u32 = pid.number("pid")?;
    let said = match fields.get("msg") {
        Some(Value::Quoted(text) | Value::Bare(text)) => Fields::of(text),
        None => return Err(Damage::Missing { what: "msg=" }),
    };
    let text = |key| {
        said.get(key)
            .map_or(String::new(), |value| value.text(NAME_BYTES))
    };
    let method = method(&text("exe"));
    let success = matches!(text("res").as_str(), "success" | "1" | "yes");
    if is_told_elsewhere(way, method, success) {
        return Ok(None);
    }
    let user = Some(text("acct")).filter(|name| !name.is_empty());
    let login = Login {
        method,
        user: user.unwrap_or_default(),
        uid: said
            .get("id")
            .and_then(|uid| uid.number("id").ok())
            .and_then(id),
        from: from(&text("addr"), &text("hostname")),
        tty: text("terminal"),
        success,
    };
    Ok(Some(Seen {
        wall_ns: record.stamp.wall_ns(),
        who: Who::pid(pid),
        what: What::Other(EventBody::Login(Box::new(login))),
    }))
}

/// One login is told once: sshd and login follow an authentication with a USER_LOGIN, sudo with a USER_CMD.
fn is_told_elsewhere(way: Way, method: LoginMethod, success: bool) -> bool {
    let by_command = method == LoginMethod::Sudo;
    let by_login = matches!(method, LoginMethod::Ssh | LoginMethod::Console);
    way == Way::Auth && success && (by_command || by_login)
}

fn from(address: &str, host: &str) -> String {
    let found = [address, host].into_iter().find(|text| !text.is_empty());
    found.unwrap_or_default().to_owned()
}

/// By which program.
pub(crate) fn method(exe: &str) -> LoginMethod {
    match exe.rsplit('/').next().unwrap_or(exe) {
        "sshd" | "sshd-session" | "sshd-auth" | "dropbear" => LoginMethod::Ssh,
        "su" => LoginMethod::Su,
        "sudo" | "doas" | "pkexec" | "sudo-rs" => LoginMethod::Sudo,
        "login" | "agetty" | "gdm-session-worker" | "sddm-helper" | "lightdm" => {
            LoginMethod::Console
        }
        "cron" | "crond" | "atd" | "systemd" | "runuser" => LoginMethod::Service,
        _ => LoginMethod::Other,
    }
}
