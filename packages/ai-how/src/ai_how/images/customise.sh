# Runs inside a new root tree, once. What all nodes have in common is settled here, so that a
# node only has to boot.
set -eu

# Nothing starts by itself before it is configured: `up` enables what a node's role needs.
systemctl disable --quiet slurmd slurmctld slurmdbd slurmrestd munge mariadb \
    prometheus prometheus-node-exporter ssh
# Nobody is asked for a password on a node; the two that wait for it hold half of a node's inotify
# instances, of which the kernel gives 128 to all nodes together.
systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
    e2scrub_all.timer man-db.timer systemd-pstore.service systemd-networkd-wait-online.service \
    systemd-logind.service systemd-timesyncd.service getty@tty1.service console-getty.service \
    systemd-journal-flush.service systemd-ask-password-console.path systemd-ask-password-wall.path \
    prometheus-node-exporter-apt.timer prometheus-node-exporter-ipmitool-sensor.timer \
    prometheus-node-exporter-mellanox-hca-temp.timer prometheus-node-exporter-nvme.timer \
    prometheus-node-exporter-smartmon.timer
systemctl enable --quiet systemd-networkd
systemctl set-default --quiet multi-user.target

# What must differ from cluster to cluster is not in the image.
rm -f /etc/munge/munge.key /etc/ssh/ssh_host_* /etc/hostname /etc/machine-id /var/lib/dbus/machine-id
: > /etc/machine-id

# root's shell on a node is a plain one; PAM would ask logind, which is not there.
mkdir -p /etc/ssh/sshd_config.d /etc/slurm /var/log/slurm /var/lib/slurm/slurmctld /var/lib/slurm/slurmd
cat > /etc/ssh/sshd_config.d/ai-how.conf <<'END'
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
END
chown slurm:slurm /var/log/slurm /var/lib/slurm /var/lib/slurm/slurmctld

# Files of jobs and of the journal do not outlive a node that is made anew.
mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n' > /etc/systemd/journald.conf.d/ai-how.conf

# A database of the size that a workstation's accounting needs: its log would be copied to each
# new controller, and is 96 MB as it comes.
cat > /etc/mysql/mariadb.conf.d/90-ai-how.cnf <<'END'
[mariadbd]
skip-networking
innodb_buffer_pool_size = 64M
innodb_log_file_size = 8M
innodb_lock_wait_timeout = 900
innodb_flush_log_at_trx_commit = 2
performance_schema = OFF
init_file = /etc/mysql/ai-how.sql
END
cat > /etc/mysql/ai-how.sql <<'END'
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS 'slurm'@'localhost' IDENTIFIED VIA unix_socket;
GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost';
END
rm -rf /var/lib/mysql
install -d -o mysql -g mysql -m 0755 /var/lib/mysql
mariadb-install-db --user=mysql --skip-test-db --skip-name-resolve --force \
    --auth-root-authentication-method=socket >&2
touch /var/lib/mysql/debian-10.11.flag

rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log /var/cache/debconf/*-old
