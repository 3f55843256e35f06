# Runs inside a new root tree after customise.sh, once, where nodes have a kernel of their own.
set -eu

# An initrd that only finds the disk: everything else is on it.
printf 'MODULES=list\nCOMPRESS=gzip\n' > /etc/initramfs-tools/conf.d/ai-how
printf 'virtio_pci\nvirtio_blk\n' > /etc/initramfs-tools/modules

# What a node is to be (name, address, keys, services) is a tar archive on a disk of its own,
# written by the host before each start. It is unpacked before systemd looks at anything.
mkdir -p /etc/initramfs-tools/scripts/local-bottom
cat > /etc/initramfs-tools/scripts/local-bottom/ai-how <<'END'
#!/bin/sh
[ "$1" = prereqs ] && exit 0
seed=/dev/disk/by-id/virtio-ai-how-seed
if [ -b "$seed" ]; then
    cat "$seed" | chroot "$rootmnt" tar --extract --file=- --directory=/
fi
END
chmod +x /etc/initramfs-tools/scripts/local-bottom/ai-how
update-initramfs -u -k all >&2

# SLURM's daemons look for addresses when they start, and here a network card takes a while.
systemctl unmask --quiet systemd-networkd-wait-online.service
systemctl enable --quiet systemd-networkd-wait-online.service

# Nobody logs in on the console, and what real hardware and people at it need is not missed: each
# of these takes seconds where every instruction is emulated.
systemctl mask --quiet serial-getty@ttyS0.service systemd-random-seed.service \
    systemd-udev-settle.service systemd-network-generator.service systemd-binfmt.service \
    proc-sys-fs-binfmt_misc.automount e2scrub_reap.service \
    modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service \
    modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service \
    dev-hugepages.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount
