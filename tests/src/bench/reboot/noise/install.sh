# Who makes noise, from the next boot on.
install -m 755 /share/noise.pl /usr/local/sbin/
# Keeps the daemon, and nothing else, from starting for as long as the file is there.
install -d /etc/systemd/system/cordon-agent.service.d
printf '[Unit]\nConditionPathExists=!/etc/cordon/held\n' >/etc/systemd/system/cordon-agent.service.d/held.conf
systemctl daemon-reload
systemctl enable noise-early.service noise-late.service
