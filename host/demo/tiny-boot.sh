#!/bin/sh
# First thing in the tiny guest, run by busybox init: drivers, disks, agent. What to do stands in /rig, written by the host.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
say() { echo "tiny: $*" >/dev/console; }

mkdir -p /proc /sys /dev /run /tmp /mnt /var/run /run/rig
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm /dev/virtio-ports
mount -t devpts devpts /dev/pts
ln -sf /proc/self/fd /dev/fd
hostname -F /etc/hostname

while read -r module; do insmod "$module" || say "insmod $module failed"; done </rig/modules

# The names that udev would make, from what the kernel tells. Ports appear one by one: all that the XML has must be there, or an
# agent would open a name that is not a port yet and make a plain file of it.
link_ports() {
  for port in /sys/class/virtio-ports/*; do
    [ -s "$port/name" ] && ln -sf "../${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
  done
  while read -r name; do [ -c "/dev/virtio-ports/$name" ] || return 1; done </rig/ports
}

rounds=0
until link_ports || [ $rounds -gt 200 ]; do
  sleep 0.02
  rounds=$((rounds + 1))
done

while read -r label type point options; do
  mkdir -p "$point"
  rounds=0
  until device=$(findfs "LABEL=$label" 2>/dev/null) || [ $rounds -gt 250 ]; do
    sleep 0.02
    rounds=$((rounds + 1))
  done
  mount -t "$type" -o "$options" "$device" "$point" || say "mount $label on $point failed"
done </rig/mounts

[ -e /rig/steps.sh ] && { sh /rig/steps.sh || say "a step failed"; } >/dev/console 2>&1
/rig/agent start
: >/run/booted
say ready
