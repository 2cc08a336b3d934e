#!/bin/sh
# Builds one disposable node and runs one command in it. Called in fresh mount, network, UTS, IPC and PID namespaces
# (`unshare -m -n -u -i -p --fork --kill-child --propagation private`): everything made here ends with them.
#   node.sh DIR COMMAND...
# DIR holds the plan: stand_in, links (paths of stand-ins), addresses, hosts, setup.sh, peer.py, peers.json, plan, tree/
# COMMAND runs in a PID namespace of its own below that; the peer stays outside of it, so the sensor never sees the peer.
set -eu
dir=$1; shift
umask 022

base=$dir/node
mkdir "$base"
mount -t tmpfs -o size=2g,mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=${KIT:+$KIT:}/,upperdir=$base/upper,workdir=$base/work" "$base/root"
root=$base/root

# Devices of its own: what the work makes, names or overwrites there is nobody else's.
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty fuse; do
    [ -e "/dev/$device" ] && { : > "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; }
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"; ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
mount --rbind /sys "$root/sys"
mount -o remount,bind,ro "$root/sys"
mount -t proc proc "$root/proc"
# What belongs to the machine that records, not to a host, is out of sight.
for hidden in /work /root /home /opt /mnt /srv /run /tmp /var/tmp /usr/local/bin /usr/local/share /media; do
    [ -d "$root$hidden" ] && mount -t tmpfs -o mode=755 tmpfs "$root$hidden"
done
chmod 1777 "$root/tmp" "$root/var/tmp"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mkdir -p "$root/run/.p" "$root/run/.peer" "$root/run/lock" "$root/root/.ssh" "$root/usr/local/bin" "$root/srv/www" "$root/opt/app" "$root/var/www/html"
# Packages to install: those of the kit.
[ -n "${KIT_ARCHIVES:-}" ] && { mkdir -p "$root/srv/debs"; mount --bind "$KIT_ARCHIVES" "$root/srv/debs"; mount -o remount,bind,ro "$root/srv/debs"; }
[ -x /usr/local/bin/git ] && { : > "$root/usr/local/bin/git"; mount --bind /usr/local/bin/git "$root/usr/local/bin/git"; }
# How git is set up here is not how it is there.
rm -f "$root/etc/gitconfig" "$root/usr/local/etc/gitconfig"
# The compiler's real home, without the version manager in front of it.
rust=$(ls -d "${HOME:-/root}"/.rustup/toolchains/*/bin 2>/dev/null | tail -n 1)
[ -n "$rust" ] && { mkdir -p "$root/usr/local/lib/rust"; mount --rbind "${rust%/bin}" "$root/usr/local/lib/rust"; }

cp "$dir/plan" "$root/run/.p/plan"
chmod 755 "$root/run/.p"; chmod 644 "$root/run/.p/plan"
cp "$dir/peer.py" "$dir/peers.json" "$root/run/.peer/"
chmod 700 "$root/run/.peer"
cp "$1" "$root/run/.peer/recorder"; shift
cp "$dir/setup.sh" "$root/run/.peer/setup.sh"
cp "$dir/orders" "$root/run/.p/orders"
cp "$dir/stand_in" "$root/run/.peer/start"
cp -a "$dir/tree/." "$root/"
while IFS= read -r path; do
    [ -n "$path" ] || continue
    mkdir -p "$root$(dirname "$path")"
    cp --remove-destination "$dir/stand_in" "$root$path"
    chmod 755 "$root$path"
done < "$dir/links"

hostname "$(cat "$dir/hostname")"
# The people of the machine are not those of the node.
for file in passwd group; do
    awk -F: '$3 < 1000 || $3 >= 60000' "/etc/$file" > "$base/$file"
    cat "$base/$file" "$dir/$file" > "$root/etc/$file"
done
cat "$dir/shadow" >> "$root/etc/shadow"
cat "$dir/hosts" > "$root/etc/hosts"
printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' > "$base/resolv"
rm -f "$root/etc/resolv.conf"; cp "$base/resolv" "$root/etc/resolv.conf"
ip link set lo up
while IFS= read -r address; do
    [ -n "$address" ] && ip addr add "$address" dev lo nodad 2>/dev/null || true
done < "$dir/addresses"
sysctl -qw net.ipv4.ping_group_range='0 2147483647' 2>/dev/null || true

mkdir "$root/.old"
cd "$root"
pivot_root . .old
umount -l /.old
rmdir /.old 2>/dev/null || true

export PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
cd /
sh /run/.peer/setup.sh >/run/.peer/setup.log 2>&1 || true
# What daemons log: outside of the PID namespace that is watched, as the peers are.
if command -v busybox >/dev/null; then
    printf 'auth,authpriv.* /var/log/auth.log\n*.*;auth,authpriv.none /var/log/syslog\n' > /etc/syslog.conf
    busybox syslogd -n -S -f /etc/syslog.conf >/dev/null 2>&1 &
fi
if [ "$(cat /run/.peer/peers.json)" != "[]" ]; then
    /usr/bin/python3 /run/.peer/peer.py /run/.peer/peers.json >/run/.peer/peer.log 2>&1 &
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do [ -e /run/.peer/ready ] && break; sleep 0.1; done
fi
status=0
# The kernel's settings are the whole machine's: work that writes them is refused. Not those of the node's own network.
guarded='mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && mount --bind /proc/sys/net /proc/sys/net \
    && mount -o remount,bind,rw /proc/sys/net; exec /run/.peer/recorder "$@"'
env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 TERM=xterm unshare --pid --fork --kill-child --mount-proc sh -c "$guarded" recorder "$@" || status=$?
[ -n "${NODE_LOGS:-}" ] && { cat /run/.peer/setup.log /run/.peer/peer.log >&2 || true; }
[ -n "${!:-}" ] && kill "$!" 2>/dev/null || true
exit $status
