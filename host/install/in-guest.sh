#!/bin/sh
# Runs as root inside a guest: over ssh, from the ISO, by cloud-init, through an agent, or in libguestfs' appliance ("offline").
#
#   in-guest.sh install|upgrade auto|qemu-ga|virt-trim [offline]
#   in-guest.sh remove [offline]
#
# Beside it lie the files it may need: virt-trim-agent-ARCH, SHA256SUMS, service files, packages/*. What it brings is listed in
# /var/lib/virt-trim/installed *before* it is brought, so that "remove" takes away exactly that, also after an install that was killed.
# Its last line on stdout is "virt-trim-result: WORD"; its status says the same:
#   0 done  20 no known package manager  21 the package manager failed  22 no space  23 no agent for this machine  24 wrong checksum
#   25 not root  26 nothing of ours is here  27 no known init system  28 another one is at work
set -u
export LC_ALL=C PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin${PATH:+:$PATH}"
umask 022
verb=${1-}
choice=${2-}
mode=${3-live}
[ "$verb" = remove ] && mode=${2-live}
upgrade=no
if [ "$verb" = upgrade ]; then
  upgrade=yes
  verb=install
fi
here=$(cd "$(dirname "$0")" && pwd)
held=no
state=/var/lib/virt-trim
list=$state/installed
program=/usr/local/sbin/virt-trim-agent
log=$state/log

say() { echo "virt-trim: $*" >&2; }
result() { echo "virt-trim-result: $1"; }
fail() {
  status=$1
  shift
  say "$*"
  result "failed-$status"
  exit "$status"
}
have() { command -v "$1" >/dev/null 2>&1; }
brought() { grep -qx -- "$1" "$list" 2>/dev/null || echo "$1" >>"$list"; }

package_manager() {
  for manager in apt-get dnf yum zypper apk pacman; do
    if have $manager; then
      echo $manager
      return
    fi
  done
}

# Names of all installed packages, one a line, sorted.
packages() {
  case $1 in
  apt-get) dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | sed -n 's/^ii *//p' ;;
  dnf | yum | zypper) rpm -qa --qf '%{NAME}\n' ;;
  apk) apk info -q 2>/dev/null || apk info ;;
  pacman) pacman -Qq ;;
  esac | sort -u
}

add_packages() {
  manager=$1
  if [ -d "$here/packages" ]; then
    case $manager in
    apt-get) dpkg -i "$here"/packages/*.deb ;;
    dnf | yum | zypper) rpm -U "$here"/packages/*.rpm ;;
    apk) apk add --no-network --allow-untrusted "$here"/packages/*.apk ;;
    pacman) pacman -U --noconfirm "$here"/packages/*.pkg.tar.* ;;
    esac
    return
  fi
  case $manager in
  apt-get)
    # No retries: in a guest without network each package costs its own time-outs, twice.
    apt="apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=0 -o Acquire::http::Timeout=20 --no-install-recommends"
    $apt install qemu-guest-agent || {
      apt-get -q -o Acquire::http::Timeout=20 update && $apt install qemu-guest-agent
    }
    ;;
  dnf | yum) $manager -y install qemu-guest-agent ;;
  zypper) zypper --non-interactive install qemu-guest-agent ;;
  apk) apk add qemu-guest-agent ;;
  pacman) pacman -Sy --noconfirm qemu-guest-agent ;;
  esac
}

drop_packages() {
  manager=$1
  shift
  case $manager in
  apt-get) DEBIAN_FRONTEND=noninteractive dpkg --purge "$@" ;;
  dnf | yum | zypper) rpm -e "$@" ;;
  apk) apk del "$@" ;;
  pacman) pacman -R --noconfirm "$@" ;;
  esac
}

init_system() {
  if [ -d /run/systemd/system ]; then
    echo systemd
    return
  fi
  case $(readlink -f /sbin/init 2>/dev/null) in
  */systemd) echo systemd ;;
  *) if have rc-update && [ -d /etc/runlevels ]; then
      echo openrc
    elif [ -d /etc/init.d ] && { have update-rc.d || have chkconfig; }; then
      echo sysvinit
    elif [ -f /etc/inittab ]; then
      echo inittab
    fi ;;
  esac
}

# Debian's package starts its service while it is being configured: not inside libguestfs.
hold_services() {
  [ "$mode" = offline ] && [ "$1" = apt-get ] && [ -d /usr/sbin ] && [ ! -e /usr/sbin/policy-rc.d ] || return 0
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
  held=yes
}

enable_service() {
  name=$1
  case $(init_system) in
  systemd)
    # A unit without [Install] is started by udev when the port appears (Debian's qemu-guest-agent); that is no failure.
    systemctl is-enabled "$name" >/dev/null 2>&1 || systemctl enable "$name" >>$log 2>&1 || true
    if [ "$mode" = live ]; then
      # The port may be older than the rule that makes a unit of its device, to which Debian's agent is bound.
      if have udevadm; then
        { udevadm control --reload; udevadm trigger --subsystem-match=virtio-ports; udevadm settle --timeout=30; } >>$log 2>&1
      fi
      # Without the port a unit that is bound to it would keep us waiting.
      wait=--no-block
      [ -e /dev/virtio-ports/org.qemu.guest_agent.0 ] && wait=
      # shellcheck disable=SC2086 # one option or none
      systemctl daemon-reload && systemctl restart $wait "$name"
    fi
    ;;
  openrc)
    rc-update add "$name" default >>$log 2>&1
    if [ "$mode" = live ]; then rc-service "$name" restart >>$log 2>&1 </dev/null; fi
    ;;
  sysvinit)
    if have update-rc.d; then update-rc.d "$name" defaults >>$log 2>&1; else chkconfig --add "$name" >>$log 2>&1; fi
    if [ "$mode" = live ]; then "/etc/init.d/$name" restart >>$log 2>&1 </dev/null; fi
    ;;
  inittab)
    # BusyBox init rereads its table on SIGHUP and starts what is new in it.
    if [ "$mode" = live ]; then kill -HUP 1; fi
    ;;
  esac
}

disable_service() {
  name=$1
  case $(init_system) in
  systemd)
    if [ "$mode" = live ]; then systemctl stop "$name" >>$log 2>&1; fi
    systemctl disable "$name" >>$log 2>&1
    ;;
  openrc)
    if [ "$mode" = live ]; then rc-service "$name" stop >>$log 2>&1; fi
    rc-update del "$name" default >>$log 2>&1
    ;;
  sysvinit)
    if [ "$mode" = live ]; then "/etc/init.d/$name" stop >>$log 2>&1; fi
    if have update-rc.d; then update-rc.d -f "$name" remove >>$log 2>&1; else chkconfig --del "$name" >>$log 2>&1; fi
    ;;
  esac
}

install_qemu_ga() {
  manager=$(package_manager)
  [ -n "$manager" ] || return 20
  had=no
  if have qemu-ga; then
    had=yes
    enable_service qemu-guest-agent
    if [ $upgrade = no ]; then return 0; fi
  fi
  packages "$manager" >$state/before || return 21
  brought "manager $manager"
  hold_services "$manager"
  DEBIAN_FRONTEND=noninteractive add_packages "$manager" >$log 2>&1 </dev/null
  added=$?
  if [ $added -ne 0 ] || ! have qemu-ga; then
    tail -n 5 $log >&2
    if grep -qiE "no space left|enough free space|disk full" $log; then return 22; fi
    return 21
  fi
  packages "$manager" >$state/after
  sort $state/before $state/before $state/after | uniq -u | while read -r name; do brought "package $name"; done
  rm -f $state/before $state/after
  # An upgrade's service was there before: it is not ours to take away.
  [ $had = yes ] || brought "service qemu-guest-agent"
  enable_service qemu-guest-agent
}

# Copies $1 to $2 under another name first: a file appears whole or not at all.
put() {
  brought "file $2"
  mkdir -p "$(dirname "$2")" && cp "$1" "$2.new" && chmod "$3" "$2.new" && mv "$2.new" "$2" && return 0
  rm -f "$2.new"
  return 22
}

own_agent_file() {
  if [ "$mode" = offline ]; then
    # uname tells of the appliance; the host has put one file here, the right one.
    for file in "$here"/virt-trim-agent-x86_64 "$here"/virt-trim-agent-aarch64; do [ -e "$file" ] && echo "$file" && return; done
  else
    file=$here/virt-trim-agent-$(uname -m)
    [ -e "$file" ] && echo "$file"
  fi
}

install_virt_trim() {
  file=$(own_agent_file)
  [ -n "$file" ] || return 23
  if have sha256sum; then
    sum=$(sha256sum "$file") && grep -q "^${sum%% *} [ *]${file##*/}\$" "$here/SHA256SUMS" || return 24
  fi
  system=$(init_system)
  [ -n "$system" ] || return 27
  put "$file" $program 755 || return
  case $system in
  systemd) put "$here/virt-trim-agent.service" /etc/systemd/system/virt-trim-agent.service 644 || return ;;
  openrc) put "$here/virt-trim-agent.openrc" /etc/init.d/virt-trim-agent 755 || return ;;
  sysvinit) put "$here/virt-trim-agent.init" /etc/init.d/virt-trim-agent 755 || return ;;
  inittab)
    brought inittab
    if ! grep -q "$program" /etc/inittab; then
      cp /etc/inittab /etc/inittab.new && echo "::respawn:$program" >>/etc/inittab.new && mv /etc/inittab.new /etc/inittab || return 22
    fi
    ;;
  esac
  [ "$system" = inittab ] || brought "service virt-trim-agent"
  if have restorecon; then restorecon $program /etc/systemd/system/virt-trim-agent.service /etc/init.d/virt-trim-agent 2>/dev/null; fi
  enable_service virt-trim-agent
}

remove_all() {
  manager=$(sed -n 's/^manager //p' $list)
  # An install that was killed did not get to write down what the package manager had brought.
  if [ -e $state/before ] && [ -n "$manager" ]; then
    if [ "$manager" = apt-get ]; then dpkg --configure -a >>$log 2>&1 </dev/null; fi
    packages "$manager" | sort $state/before $state/before - | uniq -u | while read -r name; do brought "package $name"; done
  fi
  sed -n 's/^service //p' $list | while read -r name; do disable_service "$name"; done
  names=$(sed -n 's/^package //p' $list)
  # shellcheck disable=SC2086 # a list of names
  if [ -n "$names" ]; then drop_packages "$manager" $names >>$log 2>&1 </dev/null || { tail -n 5 $log >&2 && return 21; }; fi
  if grep -qx inittab $list; then
    grep -v "$program" /etc/inittab >/etc/inittab.new
    mv /etc/inittab.new /etc/inittab
    if [ "$mode" = live ]; then kill -HUP 1; fi
  fi
  sed -n 's/^file //p' $list | while read -r file; do rm -f "$file" "$file.new"; done
  if grep -qx "file $program" $list && [ "$mode" = live ]; then
    for exe in /proc/[0-9]*/exe; do
      case $(readlink "$exe") in "$program"*) pid=${exe#/proc/} && kill "${pid%/exe}" ;; esac
    done
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
  fi
  rm -rf $state
}

[ "$(id -u)" = 0 ] || fail 25 "this needs root"
lock=/run/virt-trim-install.lock
[ -d /run ] && [ -w /run ] || lock=/tmp/virt-trim-install.lock
# A lock whose process is gone (killed, rebooted) is nobody's.
if ! mkdir $lock 2>/dev/null; then
  if kill -0 "$(cat $lock/pid 2>/dev/null || echo 1)" 2>/dev/null; then fail 28 "another install or removal is at work in this guest"; fi
fi
echo $$ >$lock/pid
trap 'rm -rf $lock; [ $held = no ] || rm -f /usr/sbin/policy-rc.d' EXIT
trap 'exit 143' TERM HUP INT

explain() {
  case $1 in
  20) fail 20 "no package manager that is known here (apt, dnf, yum, zypper, apk, pacman)" ;;
  21) fail 21 "the package manager could not bring qemu-guest-agent: no network, or no such package here" ;;
  22) fail 22 "no space left on the guest's disk" ;;
  23) fail 23 "there is no virt-trim agent for $(uname -m) beside this script" ;;
  24) fail 24 "the agent's checksum is not the one in SHA256SUMS: the copy is damaged" ;;
  27) fail 27 "neither systemd nor OpenRC, sysvinit or an inittab was found" ;;
  *) fail 1 "ended with $1" ;;
  esac
}

case $verb in
install)
  before=no
  [ -s $list ] && before=yes
  if ! mkdir -p $state || ! : >>$list; then fail 22 "nothing can be written below $state: no space, or read-only"; fi
  status=20
  agent=qemu-ga
  if [ "$choice" != virt-trim ]; then
    install_qemu_ga
    status=$?
  fi
  if [ "$choice" = virt-trim ] || { [ "$choice" = auto ] && [ $status -ne 0 ] && [ $status -ne 22 ]; }; then
    [ "$choice" = virt-trim ] || say "no qemu-guest-agent (status $status); taking virt-trim's own agent"
    agent=virt-trim
    install_virt_trim
    status=$?
  fi
  if [ $status -ne 0 ]; then
    # What an earlier install brought stays.
    [ $before = yes ] || remove_all
    explain $status
  fi
  brought "agent $agent"
  result "$agent"
  ;;
remove)
  [ -e $list ] || fail 26 "nothing that virt-trim has installed is here"
  remove_all || fail 21 "the package manager could not remove what was installed"
  result removed
  ;;
*) fail 2 "usage: $0 install|upgrade auto|qemu-ga|virt-trim [offline] | remove [offline]" ;;
esac
