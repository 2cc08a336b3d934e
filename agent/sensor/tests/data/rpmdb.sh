#!/bin/sh
# Makes rpmdb.sqlite and rpmdb.sqlite-wal beside this script, as rpm itself writes them: forty packages,
# one of them with many files, then a removal and an installation that are in the write-ahead log only.
# Needs rpm with rpmbuild, and python3. tests/packages.rs says what must be found in them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
database="--dbpath $work/db"

package() { # name, number of files
    {
        printf 'Name: %s\nVersion: 1\nRelease: 1\nSummary: test\nLicense: none\nBuildArch: noarch\n' "$1"
        printf '%%description\ntest\n%%install\nmkdir -p %%{buildroot}/usr/bin %%{buildroot}/usr/lib/%s\n' "$1"
        printf 'for n in $(seq %s); do echo x > %%{buildroot}/usr/lib/%s/helper-$n; done\n' "$2" "$1"
        printf 'echo x > %%{buildroot}/usr/bin/%s\n%%files\n/usr/bin/%s\n/usr/lib/%s\n' "$1" "$1" "$1"
    } > "$work/$1.spec"
    rpmbuild -bb --quiet --define "_topdir $work/build" --define '_build_id_links none' "$work/$1.spec"
}

n=1
while [ $n -le 39 ]; do
    package "small-$n" 2
    n=$((n + 1))
done
package large 600
package late 2
rpm $database --initdb
rm -f "$work"/early; mkdir "$work/early"
cp "$work"/build/RPMS/noarch/small-*.rpm "$work"/build/RPMS/noarch/large-*.rpm "$work/early"
rpm $database --justdb --nodeps --ignoreos -i "$work"/early/*.rpm
# A reader that holds the database open keeps what follows in the log.
python3 - "$work" "$here" <<'PYTHON'
import shutil, sqlite3, subprocess, sys
work, here = sys.argv[1:]
reader = sqlite3.connect(f"{work}/db/rpmdb.sqlite", isolation_level=None)
reader.execute("begin")
reader.execute("select count(*) from Packages").fetchone()
rpm = ["rpm", "--dbpath", f"{work}/db", "--justdb", "--nodeps"]
subprocess.run(rpm + ["-e", "small-7"], check=True)
subprocess.run(rpm + ["-i", f"{work}/build/RPMS/noarch/late-1-1.noarch.rpm"], check=True)
for name in ("rpmdb.sqlite", "rpmdb.sqlite-wal"):
    shutil.copyfile(f"{work}/db/{name}", f"{here}/{name}")
PYTHON
