//! What is watched on a Linux server unless the configuration says otherwise.
//!
//! A row's path is a file or a folder (everything in it, not below its subfolders); `*` in a name
//! stands for anything. The technique ids are MITRE ATT&CK's.

use super::tell::Tell;

const W: Tell = Tell::WATCHED;
const S: Tell = Tell::SECRET;
const X: Tell = Tell::SET_ID;

/// Paths from the root.
pub(super) const SYSTEM: &[(Tell, &str)] = &[
    // T1053.003, T1053.002: jobs of cron, anacron and at.
    (W, "/etc/crontab"),
    (W, "/etc/anacrontab"),
    (W, "/etc/cron.d"),
    (W, "/etc/cron.hourly"),
    (W, "/etc/cron.daily"),
    (W, "/etc/cron.weekly"),
    (W, "/etc/cron.monthly"),
    (W, "/etc/cron.allow"),
    (W, "/etc/cron.deny"),
    (W, "/etc/at.allow"),
    (W, "/etc/at.deny"),
    (W, "/var/spool/cron"),
    (W, "/var/spool/cron/crontabs"),
    (W, "/var/spool/cron/atjobs"),
    (W, "/var/spool/at"),
    // T1543.002, T1053.006: services, timers, their drop-ins and what is wanted at boot.
    (W, "/etc/systemd"),
    (W, "/etc/systemd/system"),
    (W, "/etc/systemd/system/*.d"),
    (W, "/etc/systemd/system/*.wants"),
    (W, "/etc/systemd/system/*.requires"),
    (W, "/etc/systemd/user"),
    (W, "/etc/systemd/user/*.wants"),
    (W, "/etc/systemd/system-generators"),
    (W, "/etc/systemd/user-generators"),
    (W, "/run/systemd/system"),
    (W, "/run/systemd/system-generators"),
    (W, "/usr/lib/systemd/system"),
    (W, "/usr/lib/systemd/user"),
    (W, "/usr/lib/systemd/system-generators"),
    (W, "/usr/lib/systemd/system-shutdown"),
    (W, "/usr/lib/systemd/system-sleep"),
    (W, "/usr/local/lib/systemd/system"),
    (W, "/lib/systemd/system"),
    // T1037.004: what init runs.
    (W, "/etc/rc.local"),
    (W, "/etc/rc.d"),
    (W, "/etc/rc.d/rc.local"),
    (W, "/etc/init.d"),
    (W, "/etc/init"),
    (W, "/etc/inittab"),
    // T1546.004: what every shell reads.
    (W, "/etc/profile"),
    (W, "/etc/profile.d"),
    (W, "/etc/bash.bashrc"),
    (W, "/etc/bashrc"),
    (W, "/etc/bash.bash_logout"),
    (W, "/etc/zsh"),
    (W, "/etc/zshenv"),
    (W, "/etc/zshrc"),
    (W, "/etc/fish/conf.d"),
    (W, "/etc/environment"),
    (W, "/etc/skel"),
    // T1574.006: what every dynamic program loads.
    (W, "/etc/ld.so.preload"),
    (W, "/etc/ld.so.conf"),
    (W, "/etc/ld.so.conf.d"),
    // T1556.003: how everybody is let in.
    (W, "/etc/pam.d"),
    (W, "/etc/pam.conf"),
    (W, "/etc/security"),
    (W, "/etc/nsswitch.conf"),
    (W, "/usr/lib/*/security"),
    (W, "/usr/lib64/security"),
    (W, "/lib/security"),
    // T1548.003: who may become root.
    (W, "/etc/sudoers"),
    (W, "/etc/sudoers.d"),
    (W, "/etc/sudo.conf"),
    (W, "/etc/doas.conf"),
    (W, "/etc/polkit-1/rules.d"),
    (W, "/etc/polkit-1/localauthority/50-local.d"),
    // T1098.004, T1563.001: ssh as the host offers it.
    (W, "/etc/ssh"),
    (W, "/etc/ssh/sshd_config.d"),
    // T1136.001, T1098: accounts.
    (W, "/etc/passwd"),
    (W, "/etc/group"),
    (W, "/etc/subuid"),
    (W, "/etc/subgid"),
    (W, "/etc/login.defs"),
    // T1547.006, T1014: kernel modules and settings.
    (W, "/etc/modules"),
    (W, "/etc/modules-load.d"),
    (W, "/etc/modprobe.d"),
    (W, "/etc/modprobe.conf"),
    (W, "/etc/sysctl.conf"),
    (W, "/etc/sysctl.d"),
    (W, "/etc/binfmt.d"),
    // T1542, T1547: what boots.
    (W, "/boot/grub/grub.cfg"),
    (W, "/boot/grub2/grub.cfg"),
    (W, "/etc/default/grub"),
    (W, "/etc/grub.d"),
    (W, "/etc/initramfs-tools/hooks"),
    (W, "/etc/initramfs-tools/scripts"),
    (W, "/etc/dracut.conf.d"),
    // T1546.017: udev rules run programs.
    (W, "/etc/udev/rules.d"),
    (W, "/run/udev/rules.d"),
    (W, "/usr/lib/udev/rules.d"),
    // T1037, T1546: messages of the day, network and power hooks run programs as root.
    (W, "/etc/motd"),
    (W, "/etc/update-motd.d"),
    (W, "/etc/NetworkManager/dispatcher.d"),
    (W, "/etc/networkd-dispatcher/routable.d"),
    (W, "/etc/network/if-up.d"),
    (W, "/etc/network/if-pre-up.d"),
    (W, "/etc/dhcp/dhclient-enter-hooks.d"),
    (W, "/etc/dhcp/dhclient-exit-hooks.d"),
    (W, "/etc/ppp/ip-up.d"),
    (W, "/etc/logrotate.d"),
    (W, "/etc/inetd.conf"),
    (W, "/etc/xinetd.d"),
    // T1546.016, T1195.002, T1553.004: package sources, their keys and hooks; trusted CAs.
    (W, "/etc/apt/sources.list"),
    (W, "/etc/apt/sources.list.d"),
    (W, "/etc/apt/apt.conf.d"),
    (W, "/etc/apt/preferences.d"),
    (W, "/etc/apt/trusted.gpg.d"),
    (W, "/etc/apt/keyrings"),
    (W, "/etc/yum.conf"),
    (W, "/etc/yum.repos.d"),
    (W, "/etc/dnf/dnf.conf"),
    (W, "/etc/dnf/plugins"),
    (W, "/etc/pki/rpm-gpg"),
    (W, "/etc/pki/ca-trust/source/anchors"),
    (W, "/usr/local/share/ca-certificates"),
    (W, "/etc/pip.conf"),
    // T1547.013: programs started with a desktop.
    (W, "/etc/xdg/autostart"),
    (W, "/etc/X11/Xsession.d"),
    // T1505.003: web shells.
    (W, "/var/www"),
    (W, "/var/www/html"),
    (W, "/var/www/cgi-bin"),
    (W, "/srv/www"),
    (W, "/srv/http"),
    (W, "/usr/share/nginx/html"),
    (W, "/usr/lib/cgi-bin"),
    // T1562.001, T1562.006, T1562.012: what watches the host.
    (W, "/etc/audit"),
    (W, "/etc/audit/rules.d"),
    (W, "/etc/rsyslog.conf"),
    (W, "/etc/rsyslog.d"),
    (W, "/etc/selinux/config"),
    (W, "/etc/cordon"),
    // T1562.004, T1565.001: firewall and names.
    (W, "/etc/nftables.conf"),
    (W, "/etc/iptables"),
    (W, "/etc/hosts"),
    (W, "/etc/resolv.conf"),
    (W, "/etc/hosts.allow"),
    (W, "/etc/hosts.deny"),
    // T1610, T1053.007: containers that a node starts by itself.
    (W, "/etc/docker"),
    (W, "/etc/containerd"),
    (W, "/etc/containers/systemd"),
    (W, "/etc/kubernetes/manifests"),
    // T1003.008: password hashes.
    (S, "/etc/shadow"),
    (S, "/etc/shadow-"),
    (S, "/etc/gshadow"),
    (S, "/etc/gshadow-"),
    (S, "/etc/security/opasswd"),
    // T1552.004: private keys of the host and its services.
    (S, "/etc/ssh/ssh_host_*_key"),
    (S, "/etc/ssl/private"),
    (S, "/etc/pki/tls/private"),
    (S, "/etc/wireguard"),
    (S, "/etc/krb5.keytab"),
    (S, "/etc/letsencrypt/live/*/privkey.pem"),
    // T1552.001: credentials of services and of the orchestration.
    (S, "/etc/kubernetes/*.conf"),
    (S, "/etc/kubernetes/pki/*.key"),
    (S, "/etc/rancher/k3s/k3s.yaml"),
    (S, "/var/lib/kubelet/kubeconfig"),
    (S, "/var/lib/kubelet/pki/kubelet-client-current.pem"),
    (S, "/etc/mysql/debian.cnf"),
    (S, "/etc/ppp/chap-secrets"),
    (S, "/etc/ipsec.secrets"),
    (S, "/var/lib/sss/secrets/secrets.ldb"),
    (S, "/var/lib/samba/private/passdb.tdb"),
    // The agent's own identity.
    (S, "/var/lib/cordon/identity.json"),
    // T1548.001: where a set-uid program has no business, and where one is hidden among others.
    (X, "/tmp"),
    (X, "/var/tmp"),
    (X, "/dev/shm"),
    (X, "/usr/bin"),
    (X, "/usr/sbin"),
    (X, "/usr/local/bin"),
    (X, "/usr/local/sbin"),
    (X, "/opt"),
];

/// Paths from each account's home.
pub(super) const HOME: &[(Tell, &str)] = &[
    // T1098.004: who may log in as this account, and what runs then.
    (W, ".ssh"),
    // T1546.004: what its shells read.
    (W, ".bashrc"),
    (W, ".bash_profile"),
    (W, ".bash_login"),
    (W, ".bash_logout"),
    (W, ".bash_aliases"),
    (W, ".profile"),
    (W, ".zshrc"),
    (W, ".zshenv"),
    (W, ".zprofile"),
    (W, ".zlogin"),
    (W, ".zlogout"),
    (W, ".config/fish/config.fish"),
    (W, ".config/fish/conf.d"),
    // T1574.006, T1556: what its logins and sudo read.
    (W, ".pam_environment"),
    (W, ".config/environment.d"),
    (W, ".rhosts"),
    // T1543.002, T1053.006: its services and timers.
    (W, ".config/systemd/user"),
    (W, ".config/systemd/user/*.wants"),
    (W, ".config/systemd/user/*.d"),
    (W, ".local/share/systemd/user"),
    // T1547.013: programs started with its desktop.
    (W, ".config/autostart"),
    (W, ".xinitrc"),
    (W, ".xsession"),
    (W, ".xsessionrc"),
    (W, ".xprofile"),
    // T1552.004: private keys.
    (S, ".ssh/id_rsa"),
    (S, ".ssh/id_dsa"),
    (S, ".ssh/id_ecdsa"),
    (S, ".ssh/id_ecdsa_sk"),
    (S, ".ssh/id_ed25519"),
    (S, ".ssh/id_ed25519_sk"),
    (S, ".ssh/identity"),
    (S, ".ssh/*.pem"),
    (S, ".ssh/*.key"),
    (S, ".gnupg/private-keys-v1.d"),
    // T1552.001: tokens and passwords of tools.
    (S, ".aws/credentials"),
    (S, ".azure/msal_token_cache.json"),
    (S, ".azure/accessTokens.json"),
    (S, ".config/gcloud/credentials.db"),
    (S, ".config/gcloud/access_tokens.db"),
    (S, ".config/gcloud/application_default_credentials.json"),
    (S, ".config/doctl/config.yaml"),
    (S, ".config/gh/hosts.yml"),
    (S, ".config/git/credentials"),
    (S, ".config/rclone/rclone.conf"),
    (S, ".kube/config"),
    (S, ".docker/config.json"),
    (S, ".git-credentials"),
    (S, ".netrc"),
    (S, ".pgpass"),
    (S, ".my.cnf"),
    (S, ".npmrc"),
    (S, ".pypirc"),
    (S, ".cargo/credentials.toml"),
    (S, ".terraform.d/credentials.tfrc.json"),
    (S, ".vault-token"),
    (S, ".s3cfg"),
    // T1555.001, T1555.003: keyrings and browsers.
    (S, ".local/share/keyrings"),
    (S, ".local/share/kwalletd"),
    (S, ".mozilla/firefox/*/logins.json"),
    (S, ".mozilla/firefox/*/key4.db"),
    (S, ".mozilla/firefox/*/cookies.sqlite"),
    (S, ".config/google-chrome/*/Login Data"),
    (S, ".config/google-chrome/*/Cookies"),
    (S, ".config/chromium/*/Login Data"),
    (S, ".config/chromium/*/Cookies"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_path_is_clean_and_there_once() {
        let mut seen = HashSet::new();
        for (_, path) in SYSTEM {
            assert!(path.starts_with('/') && seen.insert(*path), "{path}");
        }
        for (_, path) in HOME {
            assert!(!path.starts_with('/') && seen.insert(*path), "{path}");
        }
        for path in seen {
            let parts = path.trim_start_matches('/').split('/');
            assert!(parts.clone().all(|part| !part.is_empty()), "{path}");
            assert!(!parts.clone().any(|part| part == ".."), "{path}");
        }
    }
}
