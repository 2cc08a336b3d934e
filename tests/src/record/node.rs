//! Disposable nodes: plan files in, recorded lines out.

use std::{
    fmt::Write as _,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use super::{chain::USERS, kit, plan::Plan, store::Line};

/// What all nodes share: the compiled stand-in and the scripts.
#[derive(Debug)]
pub struct Bench {
    // Before the folder that it is in.
    kit: Option<Kit>,
    dir: TempDir,
    scripts: PathBuf,
    recorder: PathBuf,
}

/// The kit in memory: an overlay takes no folder of the machine's own file system as a second layer.
#[derive(Debug)]
struct Kit {
    tree: PathBuf,
    archives: PathBuf,
}

impl Kit {
    /// Fetches it unless it is there, and copies it to a file system below `dir` that only this process and its
    /// children see. Must be called before there are other threads.
    fn prepare(home: &Path, dir: &Path) -> Result<Self> {
        let fetched = kit::prepare(home)?;
        unshare(CloneFlags::CLONE_NEWNS).context("leave the mount namespace: is this root")?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .context("keep mounts to this process")?;
        let tree = dir.join("kit");
        std::fs::create_dir(&tree).with_context(|| format!("make {}", tree.display()))?;
        let options = Some("size=1g,mode=755");
        mount(
            Some("tmpfs"),
            &tree,
            Some("tmpfs"),
            MsFlags::empty(),
            options,
        )
        .with_context(|| format!("mount {}", tree.display()))?;
        let copied = Command::new("cp")
            .arg("-a")
            .arg(fetched.join("."))
            .arg(&tree)
            .status()
            .context("start cp")?;
        ensure!(copied.success(), "copy the kit to {}", tree.display());
        let archives = home.join("archives");
        Ok(Self { tree, archives })
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        // Else it goes with the process, and leaves its folder.
        if let Err(error) = umount2(&self.tree, MntFlags::MNT_DETACH) {
            eprintln!("unmount {}: {error}", self.tree.display());
        }
    }
}

impl Bench {
    /// Compiles the stand-in and unpacks the kit.
    pub fn prepare(scripts: &Path) -> Result<Self> {
        let scripts = scripts
            .canonicalize()
            .with_context(|| format!("find {}", scripts.display()))?;
        let dir = TempDir::with_prefix("cordon-record-").context("make a directory for plans")?;
        let status = Command::new("cc")
            .args(["-O1", "-o"])
            .arg(dir.path().join("stand_in"))
            .arg(scripts.join("stand_in.c"))
            .arg("-lutil")
            .status()
            .context("start cc: install gcc")?;
        ensure!(
            status.success(),
            "compile {}",
            scripts.join("stand_in.c").display()
        );
        let recorder = std::env::current_exe().context("find this program")?;
        let kit = Kit::prepare(&recorder.with_file_name("record-kit"), dir.path())
            .inspect_err(|error| eprintln!("recording without further tools: {error:#}"))
            .ok();
        Ok(Self {
            kit,
            dir,
            scripts,
            recorder,
        })
    }

    /// The first program of `needs` that neither this machine nor the kit has.
    pub fn lacks<'a>(&self, needs: &'a [String]) -> Option<&'a str> {
        needs
            .iter()
            .find(|tool| !kit::has(self.kit.as_ref().map(|kit| kit.tree.as_path()), tool))
            .map(String::as_str)
    }

    /// Runs one plan in a node of its own; answers what was recorded.
    pub fn run(&self, plan: &Plan, dry: bool) -> Result<Vec<Line>> {
        let dir = self
            .dir
            .path()
            .join(format!("{}-{}", plan.scenario, plan.variant));
        self.write(plan, &dir)?;
        let mut command = Command::new("timeout");
        command
            .args([
                "-k",
                "2",
                "45",
                "unshare",
                "-m",
                "-n",
                "-u",
                "-i",
                "-p",
                "--fork",
                "--kill-child",
                "--propagation",
                "private",
                "sh",
            ])
            .arg(self.scripts.join("node.sh"))
            .arg(&dir)
            .arg(&self.recorder)
            .args(["watch", "/run/.p/orders"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(kit) = &self.kit {
            command.env("KIT", &kit.tree);
            command.env("KIT_ARCHIVES", &kit.archives);
        }
        if dry {
            command.env("NODE_LOGS", "1");
        }
        let output = command
            .output()
            .context("start a node: is this root, is unshare installed")?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if dry {
            eprintln!(
                "--- {} {} {}\n{said}",
                plan.scenario, plan.variant, plan.chain
            );
        }
        ensure!(
            output.status.success(),
            "the node ended with {}: {said}",
            output.status
        );
        std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
        read_lines(plan, &output.stdout)
    }

    fn write(&self, plan: &Plan, dir: &Path) -> Result<()> {
        let tree = dir.join("tree");
        std::fs::create_dir_all(&tree).with_context(|| format!("make {}", tree.display()))?;
        let put = |name: &str, content: &[u8]| {
            let path = dir.join(name);
            std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))
        };
        put("plan", &plan.records)?;
        put("orders", plan.orders.to_string().as_bytes())?;
        put("peers.json", plan.peers.to_string().as_bytes())?;
        put("setup.sh", format!("{SETUP}{}\n", plan.setup).as_bytes())?;
        put("links", (plan.stand_ins.join("\n") + "\n").as_bytes())?;
        put("addresses", (plan.addresses.join("\n") + "\n").as_bytes())?;
        put("hosts", plan.hosts.as_bytes())?;
        put("hostname", b"srv01")?;
        let (mut passwd, mut group, mut shadow) = (String::new(), String::new(), String::new());
        for (name, uid, home) in USERS
            .iter()
            .filter(|(_, uid, _)| (100..60_000).contains(uid))
        {
            writeln!(passwd, "{name}:x:{uid}:{uid}::{home}:/bin/bash")?;
            writeln!(group, "{name}:x:{uid}:")?;
            writeln!(
                shadow,
                "{name}:$6$kT1x9wQ2$0b3q8ZkzS5m4Yw7uQ1Hq/:19800:0:99999:7:::"
            )?;
        }
        put("passwd", passwd.as_bytes())?;
        put("group", group.as_bytes())?;
        put("shadow", shadow.as_bytes())?;
        for name in ["stand_in", "peer.py"] {
            let from = if name == "stand_in" {
                self.dir.path().join(name)
            } else {
                self.scripts.join(name)
            };
            std::fs::copy(&from, dir.join(name))
                .with_context(|| format!("copy {}", from.display()))?;
        }
        for (path, content, executable) in &plan.files {
            put_file(&tree, path, content, *executable)?;
        }
        Ok(())
    }
}

fn put_file(tree: &Path, path: &str, content: &str, executable: bool) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let path = tree.join(path.trim_start_matches('/'));
    let parent = path.parent().unwrap_or(tree);
    std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
    let mode = if executable { 0o755 } else { 0o644 };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}

fn read_lines(plan: &Plan, mut stdout: &[u8]) -> Result<Vec<Line>> {
    let mut text = String::new();
    stdout
        .read_to_string(&mut text)
        .context("read what the recorder wrote")?;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let recorded: (String, serde_json::Value) = serde_json::from_str(line)
            .with_context(|| format!("read recorded line {}", index + 1))?;
        let (label, mut story) = recorded;
        story["id"] =
            serde_json::Value::String(format!("{}-{}-{index}", plan.scenario, plan.variant));
        lines.push(Line {
            label,
            family: plan.family.clone(),
            technique: plan.technique.clone(),
            scenario: plan.scenario.clone(),
            variant: plan.variant,
            story,
        });
    }
    Ok(lines)
}

/// What every node has before a scenario's own set-up.
const SETUP: &str = r#"
mkdir -p /home/deploy/src/app /home/admin/src/app /home/ubuntu /home/ci/work/app/app /opt/app /opt/venv/bin \
  /var/lib/postgresql/15/main /var/www/html/uploads /srv/www /etc/dropbear /var/log /tmp/.cache /usr/lib/cgi-bin /var/backups
# Tools that this machine may lack: their image and arguments are what a sensor sees of them.
for tool in sbin/auditctl sbin/augenrules sbin/iptables sbin/iptables-save sbin/ufw sbin/visudo sbin/logrotate sbin/nginx sbin/sshd \
  sbin/restorecon sbin/setenforce bin/crontab bin/rsync bin/restic bin/borg bin/rclone bin/duplicity bin/kubectl bin/puppet bin/salt-call \
  bin/chef-client bin/certbot sbin/fail2ban-client bin/ffprobe bin/convert bin/identify sbin/smartctl bin/rg sbin/sendmail bin/deb-systemd-invoke; do
  [ -e /usr/$tool ] || cp /bin/true /usr/$tool
done
[ -e /usr/bin/sudo ] || cp /usr/bin/env /usr/bin/sudo
mkdir -p /etc/ssh; [ -e /etc/ssh/sshd_config ] || cp /usr/share/openssh/sshd_config /etc/ssh/ 2>/dev/null
chown -R root:root /etc/sudoers /etc/sudoers.d 2>/dev/null
for user in admin deploy ubuntu; do echo "$user ALL=(ALL) NOPASSWD: ALL" > /etc/sudoers.d/90-$user; done; chmod 440 /etc/sudoers.d/*
chmod 1777 /tmp/.cache /run/lock /opt/app /srv/www /var/www/html /var/www/html/uploads
mkdir -p /usr/local/lib/app && chmod 1777 /usr/local/lib/app
for user in deploy admin ubuntu ci; do
  mkdir -p /home/$user/.ssh; printf 'alias ll="ls -l"\n' > /home/$user/.bashrc; printf 'umask 022\n' > /home/$user/.profile
  printf 'ls\ncd src\ngit status\n' > /home/$user/.bash_history
  chown -R $user:$user /home/$user
done
chown -R postgres:postgres /var/lib/postgresql 2>/dev/null
printf 'alias ll="ls -l"\n' > /root/.bashrc; printf 'uptime\ndf -h\n' > /root/.bash_history
dropbearkey -t ed25519 -f /run/.peer/id >/dev/null 2>&1
dropbearkey -y -f /run/.peer/id | grep '^ssh-' > /root/.ssh/authorized_keys
chmod 700 /root/.ssh; chmod 600 /root/.ssh/authorized_keys
for user in admin deploy; do cp /root/.ssh/authorized_keys /home/$user/.ssh/; chown -R $user /home/$user/.ssh; done
printf -- '-----BEGIN OPENSSH PRIVATE KEY-----\nbm90IGEga2V5\n-----END OPENSSH PRIVATE KEY-----\n' > /root/.ssh/id_rsa
chmod 600 /root/.ssh/id_rsa; cp /root/.ssh/id_rsa /home/deploy/.ssh/id_rsa; chown deploy /home/deploy/.ssh/id_rsa
printf 'DB_PASSWORD=tulip-42\nAPI_KEY=9f31c\n' > /opt/app/.env; printf 'user: app\npassword: tulip-42\n' > /opt/app/config.yml
seq 1 400 | sed 's/^/Nov 24 10:00:00 srv01 app: line /' > /var/log/syslog; cp /var/log/syslog /var/log/auth.log; chmod 640 /var/log/auth.log
touch /var/log/wtmp /var/log/btmp /var/log/lastlog /var/log/job.log; chmod 666 /var/log/job.log
cat > /srv/www/app.py <<'PY'
import http.server, subprocess, urllib.parse
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        line = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query).get("q", [""])[0]
        done = subprocess.run(line, shell=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
        self.send_response(200); self.end_headers(); self.wfile.write(done.stdout)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Page).serve_forever()
PY
"#;
