#!/bin/sh
# Holds a private hypervisor together and cleans up behind it. Runs beside its owner, in a session of its own.
#
#   supervise.sh run DIR    makes DIR and a mount namespace for it, prints "ready PID", then waits for the end of its stdin.
#   supervise.sh sweep BASE removes every hypervisor below BASE whose supervisor is gone (power loss, SIGKILL of all of us).
#
# The owner keeps the other end of our stdin open. However it ends (return, Ctrl-C, SIGKILL, crash), the kernel closes it, and we
# kill what runs in the namespace and remove the directory. Killing goes by one fact that no process can shake off and no other
# process has: DIR/etc mounted on /etc/libvirt in its /proc/PID/mountinfo.
set -u
export LC_ALL=C PATH="${PATH:+$PATH:}/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
program=$0

# Every process in the namespace of $1.
inside() {
  for file in $(grep -ls -F -- " /etc/libvirt " /proc/[0-9]*/mountinfo); do
    # The root of a bind mount is a path on its own file system: compare the end, which the unique name makes unique.
    grep -qs -- "/${1##*/}/etc /etc/libvirt " "$file" && file=${file#/proc/} && echo "${file%/mountinfo}"
  done
}

remove_all() {
  directory=$1
  rounds=0
  while found=$(inside "$directory"); [ -n "$found" ] && [ $rounds -lt 200 ]; do
    # shellcheck disable=SC2086 # a list of numbers
    kill -KILL $found 2>/dev/null
    rounds=$((rounds + 1))
    sleep 0.05
  done
  losetup --noheadings --output NAME,BACK-FILE 2>/dev/null | while read -r device file; do
    case $file in "$directory"/*) losetup --detach "$device" ;; esac
  done
  # Mounts that a test made below DIR in the machine's own namespace: the last one first.
  while read -r _ _ _ _ point _; do
    case $point in "$directory"/*) echo "$point" ;; esac
  done </proc/self/mountinfo | sort -r | while read -r point; do umount --lazy "$point"; done
  # The lock goes last: a directory with a lock is one that the next sweep finds.
  for place in "$directory" "$directory.new"; do
    [ ! -d "$place" ] || find "$place" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf --one-file-system -- {} +
    rm -rf --one-file-system -- "$place"
  done
}

# The lock is held by a living supervisor for as long as it lives, and by nothing else: descriptor 9 is closed for its children.
sweep() {
  for directory in "$1"/virt-trim-hv-*; do
    case $directory in *.new) [ -n "$(find "$directory" -maxdepth 0 -mmin +1 2>/dev/null)" ] || continue ;; esac
    [ -e "$directory/lock" ] || continue
    if flock --nonblock "$directory/lock" true; then remove_all "${directory%.new}"; fi
  done
}

# In a new mount namespace: nothing of the machine's libvirt, message bus, cgroups or KVM is reachable from here.
anchor() {
  directory=$1
  if ! mount --make-rprivate / 2>/dev/null; then
    # A chroot's root need not be a mount point. Its mounts must not be shared with the machine then.
    device=$(stat -c %d /)
    device="$((device >> 8 & 4095)):$((device & 255 | device >> 12 & 1048320))"
    if grep -q -- "^[0-9]* [0-9]* $device .* shared:" /proc/1/mountinfo; then
      echo "mounts made in this chroot would spread to the machine; outside run: mount --bind CHROOT CHROOT && mount --make-private CHROOT" >&2
      return 1
    fi
  fi
  set -e
  mount --bind "$directory/etc" /etc/libvirt
  for pair in lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt; do
    mount --bind "$directory/${pair%%:*}" "${pair#*:}"
  done
  # /run as a whole: without the message bus libvirtd registers no machine with systemd and touches no firewall.
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir /run/libvirt /run/lock
  mount --bind "$directory/run" /run/libvirt
  # Without cgroups libvirt makes none, and leaves none behind.
  if [ -d /sys/fs/cgroup ]; then umount --recursive --lazy /sys/fs/cgroup 2>/dev/null || true; fi
  # A /dev without kvm: one that is there and does not work makes libvirt probe QEMU again at every call (70 s for a define).
  mount -t tmpfs -o mode=755 tmpfs "$directory/dev"
  for node in null zero full random urandom tty ptmx loop-control fuse; do
    [ -e "/dev/$node" ] && cp -a "/dev/$node" "$directory/dev/"
  done
  ln -s /proc/self/fd "$directory/dev/fd"
  mkdir "$directory/dev/pts" "$directory/dev/shm" "$directory/dev/mapper"
  mount --rbind /dev/pts "$directory/dev/pts"
  mount -t tmpfs -o mode=1777 tmpfs "$directory/dev/shm"
  mount --rbind "$directory/dev" /dev
  echo $$ >"$directory/anchor.tmp"
  mv "$directory/anchor.tmp" "$directory/anchor"
  exec sleep infinity
}

run() {
  directory=$1
  # The owner's Ctrl-C is the owner's; only the end of our stdin ends us.
  trap '' INT TERM HUP PIPE
  mkdir -m 0711 "$directory.new" || exit 1
  exec 9>"$directory.new/lock"
  flock 9
  for name in etc lib cache log run sock dev images channels; do mkdir -m 0755 "$directory.new/$name" || exit 1; done
  mv "$directory.new" "$directory"
  unshare --mount --propagation unchanged sh "$program" anchor "$directory" 9>&- </dev/null >/dev/null &
  started=$!
  while [ ! -e "$directory/anchor" ] && kill -0 $started 2>/dev/null; do sleep 0.02; done
  if [ -e "$directory/anchor" ]; then
    echo "ready $(cat "$directory/anchor")"
    exec >/dev/null
    while read -r _; do :; done
  fi
  remove_all "$directory"
  [ ! -e "$directory" ]
}

case ${1-} in
run) run "$2" ;;
sweep) sweep "$2" ;;
anchor) anchor "$2" ;;
*) echo "usage: $program run DIR | sweep BASE" >&2; exit 2 ;;
esac
