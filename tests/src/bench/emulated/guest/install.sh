# Makes the machine a host of the lab: address, names, agent with its units.
cp /share/lan.network /etc/systemd/network/
cp /share/hosts /etc/hosts
echo ep1 >/etc/hostname
echo ep1 >/proc/sys/kernel/hostname
install -m 755 /share/cordon-agent /usr/sbin/
install -d /etc/cordon /usr/share/cordon
install -m 644 /share/agent.toml /etc/cordon/
cp -r /share/model /usr/share/cordon/
cp /share/*.service /share/*.socket /etc/systemd/system/
# A reboot ends the job with the machine: it shall not turn it off.
install -d /etc/systemd/system/job.service.d
printf '[Service]\nExecStopPost=\n' >/etc/systemd/system/job.service.d/stays.conf
systemctl daemon-reload
systemctl enable systemd-networkd.service cordon-agent.service cordon-agent-restore.service
systemctl start systemd-networkd.service
/lib/systemd/systemd-networkd-wait-online --timeout=120
