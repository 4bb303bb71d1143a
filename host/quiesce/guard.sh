#!/bin/sh
# The guard of one lease: thaws the guest when the lease has run out, whatever became of virt-trim. POSIX sh, and of other programs only
# virsh, flock, timeout, setsid, sleep, mv and rm. A copy of this file lies in the lease's directory and is what runs there.
#
#   guard.sh run LEASE NUMBER     waits and thaws; NUMBER 1 is the guard, 2 stands in for it when it has died, and each restarts the other
#   guard.sh claim LEASE PID      makes process PID the lease's owner, unless a living process is (75)
#   guard.sh renew LEASE CENTIS   sets another deadline, unless the old one has passed (75)
#
# LEASE is a directory, STATE/leases/UUID. Its inode is the lease, and flock(2) on it is the lock: whoever calls the guest for this lease
# holds it, and so does his virsh, even after he was killed. So there is one call at a time, and a call is only made for a lease that is
# still in its place. In it (written by lease-files.ts, one writer each):
#   record    KEY=VALUE lines, never changed
#   deadline  hundredths of a second of the boot clock (/proc/uptime)
#   phase     armed | freezing (the call is about to be sent, or has been) | unknown (sent, never answered, and never sent again)
#             | frozen COUNT CENTIS | refused | thawed
#   owner.N   PID STARTTIME of a process that works with the lease; while one of them lives, only it removes the lease
#   guard.N   PID STARTTIME ANSWER, written by us: the answer is that of the status call that proves that we can thaw
#   failed    written instead of guard.1 when that call failed: what virsh said
#   unit      the systemd unit that we run as; without it we run detached
#   result    written by us when the guest is verified thawed: thawed COUNT CENTIS, or why nothing is left to thaw
set -u
export LC_ALL=C
unset VIRSH_DEBUG VIRSH_LOG_FILE LIBVIRT_DEBUG LANGUAGE
IFS=' '
namespace=https://virt-trim.org/xmlns/domain/1/lease
# qemu-ga may execute a freeze whose caller is gone as late as libvirt's 30 s for the agent lock and 5 s for its guest-sync.
settle=3500

now() {
  read -r uptime _ </proc/uptime
  # "1234.05": the leading 1 keeps 08 and 09 from being read as octal.
  now=$((${uptime%.*} * 100 + 1${uptime#*.} - 100))
}

say() {
  now
  echo "$now guard $number: $*" >&2
}

# When process $1 started, in clock ticks since boot; false where there is none, or only its zombie.
start_of() {
  start=
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -- ${stat##*) }
  case $1 in Z | X) return 1 ;; esac
  shift 19
  start=$1
}

# Whether the process that file $1 names (PID STARTTIME …) still runs.
lives() {
  { read -r pid began _ <"$1"; } 2>/dev/null || return 1
  start_of "$pid" && [ "$start" = "$began" ]
}

owner_lives() {
  for file in owner.*; do lives "$file" && return 0; done
  return 1
}

# Whether the directory that we stand in is still the lease at its path, and has its id.
still_here() {
  [ "$lease" -ef . ] || return 1
  { read -r found <record; } 2>/dev/null || return 1
  [ "$found" = "id=$id" ]
}

load() {
  id='' uuid='' uri='' virsh=virsh domid='' boot='' peers='' patience=5 unit=''
  while IFS='=' read -r key value; do
    case $key in
    id) id=$value ;;
    uuid) uuid=$value ;;
    uri) uri=$value ;;
    virsh) virsh=$value ;;
    domid) domid=$value ;;
    boot) boot=$value ;;
    peers) peers=$value ;;
    patience) patience=$value ;;
    esac
  done <record
  { read -r unit <unit; } 2>/dev/null || unit=''
  # libvirt: 30 s for the agent lock, 5 s for guest-sync, its own timeout for the command; two commands; and some air.
  outer=$((2 * (35 + patience) + 5))
}

# Runs virsh commands ($2) on connection $1 (- is libvirt's default); everything it says is in $answer.
ask() {
  if [ "$1" = - ]; then set -- "$2"; else set -- -c "$1" "$2"; fi
  answer=$(timeout -k 2 "$outer" "$virsh" -q -k 0 "$@" 2>&1 </dev/null)
}

agent() {
  echo "qemu-agent-command $uuid '{\"execute\":\"$1\"}' --timeout $patience"
}

# What has become of the domain on connection $1: $seen is ours (runs, and is the run of QEMU that we froze), still (the same, paused),
# other (another run), saved, moved, off, gone (unknown there), or silent (no answer from libvirt).
look() {
  ask "$1" "domid $uuid; domstate --reason $uuid; metadata $uuid $namespace --live"
  seen=silent run='' held=no
  IFS='
'
  set -f
  for line in $answer; do
    case $line in
    [0-9]*) run=$line ;;
    "running ("* | "idle ("* | "in shutdown ("*) seen=ours ;;
    "paused ("* | "pmsuspended ("*) seen=still ;;
    "shut off (saved)"*) seen=saved ;;
    "shut off (migrated)"*) seen=moved ;;
    "shut off ("* | "crashed ("*) seen=off ;;
    *"failed to get domain"* | *"Domain not found"*) seen=gone ;;
    *"id=\"$id\""*) held=yes ;;
    esac
  done
  set +f
  IFS=' '
  run=${run%% *}
  case $seen in
  ours | still)
    # The lease's mark in the live metadata goes where this run of QEMU goes: through save and restore, and to another host.
    if [ $held = no ] && { [ "$1" != "${uri:--}" ] || [ $rebooted = yes ] || [ "$run" != "$domid" ]; }; then seen=other; fi
    ;;
  esac
}

# Thaws and asks, on connection $1. $said is thawed, frozen or nothing; $count what the thaw answered.
thaw() {
  said='' count=''
  ask "$1" "$(agent guest-fsfreeze-thaw); $(agent guest-fsfreeze-status)"
  case $answer in *'{"return":"thawed"'*) said=thawed ;; *'{"return":"frozen"'*) said=frozen ;; esac
  case $answer in
  *'{"return":'[0-9]*)
    count=${answer#*\{\"return\":}
    count=${count%%\}*}
    case $count in *[!0-9]* | '') count='' ;; esac
    ;;
  esac
  [ -n "$count" ] && [ "$count" -gt 0 ] && total=$((total + count))
  # Said once, however long it lasts: the log has no other bound.
  if [ -z "$said" ] && [ "$answer" != "$complaint" ]; then say "no answer from the guest: $answer"; fi
  complaint=$answer
}

# One attempt, under the lock. True when nothing is left to do: $result says why.
attempt() {
  # What became of the domain is asked every 5 s at most: when its agent comes back, the next call is the thaw.
  if [ "$before" != ours ] || [ $((now - looked)) -gt 500 ]; then
    looked=$now
    where=${uri:--}
    look "$where"
  fi
  case $seen in
  moved | gone | other)
    here=$seen
    for peer in $peers; do
      look "$peer"
      case $seen in ours | still) where=$peer && break ;; esac
      seen=$here
    done
    ;;
  esac
  if [ "$seen" != "$before" ]; then say "the domain is: $seen"; fi
  before=$seen
  case $seen in
  ours) ;;
  off | other)
    result="ended - $now"
    return 0
    ;;
  moved | gone)
    # It may be on its way, or saved as a transient domain. Without a peer to look at nobody here can do more than say so.
    lost=$((lost + 1))
    if [ $lost -lt 60 ] || { [ -n "$peers" ] && [ $lost -lt 1200 ]; }; then return 1; fi
    result="moved - $now"
    return 0
    ;;
  *)
    first=''
    return 1
    ;;
  esac
  lost=0
  thaw "$where"
  # An agent that has just come back answers the status first: no time is lost over it.
  [ "$said" != frozen ] || thaw "$where"
  now
  if [ "$said" != thawed ]; then
    first=''
    case $answer in *"domain is not running"* | *"failed to get domain"* | *"Domain not found"*) before='' ;; esac
    return 1
  fi
  result="thawed $total $now"
  [ "$phase" = frozen ] && return 0
  # The freeze call was never answered: it may still land. Its caller, if it lives, may even be about to send it.
  [ "$phase" = freezing ] && owner_lives && return 1
  [ -n "$first" ] || { first=$now && say "thawed; asking on, because the freeze was never answered"; }
  [ $((now - first)) -gt $settle ]
}

# Removes the lease and what belongs to it. Its owner does that, while it lives.
finish() {
  if owner_lives; then return; fi
  # A lease that cannot be removed (read-only) still ends here: the guest is thawed, and recover removes the rest.
  ask "${where:-${uri:--}}" "metadata $uuid $namespace --remove --live"
  case $answer in
  '' | *"metadata not found"* | *"failed to get domain"* | *"Domain not found"* | *"is not running"* | *"is not active"*) ;;
  *)
    # libvirt is away: the mark would stay, and keep others from the guest. After a minute `recover` has to find it.
    unmarked=$((unmarked + 1))
    [ $unmarked -gt 60 ] || return
    ;;
  esac
  rm -rf "$leases/.gone.$id"
  mv "$lease" "$leases/.gone.$id" && rm -rf "$leases/.gone.$id"
  [ -z "$unit" ] || systemctl --no-block stop "$unit.timer"
  exit 0
}

sleeper=''
leave() {
  [ -z "$sleeper" ] || kill "$sleeper" 2>/dev/null
  exit 0
}

# Sleeps $1 hundredths; a signal ends it.
nap() {
  sleep "$(($1 / 100)).$(($1 % 100 / 10))$(($1 % 10))" 9>&- &
  sleeper=$!
  wait "$sleeper"
  kill "$sleeper" 2>/dev/null
  sleeper=''
}

# A guard that died is started again by the other one; under systemd the unit does it.
watch_partner() {
  [ -z "$unit" ] && [ -e "guard.$((3 - number))" ] || return
  lives "guard.$((3 - number))" && return
  { read -r phase _ <phase; } 2>/dev/null || return
  case $phase in thawed | refused) return ;; esac
  say "guard $((3 - number)) has died; starting another one"
  setsid sh "$lease/guard.sh" run "$lease" $((3 - number)) </dev/null 9>&- &
  nap 50
}

run() {
  trap '' HUP INT PIPE
  trap leave TERM
  trap : USR1
  load
  leases=${lease%/*}
  { read -r current </proc/sys/kernel/random/boot_id; } 2>/dev/null || current=''
  rebooted=no
  [ "$current" = "$boot" ] || rebooted=yes
  first='' lost=0 total=0 before='' result='' where='' rounds=0 looked=0 seen='' complaint='' orphaned=0 unmarked=0
  exec 9<.
  if ! still_here; then exit 0; fi
  confirm=asleep
  if [ "$number" = 1 ] && [ ! -e guard.1 ]; then
    # The proof that we can thaw: the same program, connection and credentials as later.
    ask "${uri:--}" "$(agent guest-fsfreeze-status)"
    case $answer in
    *'{"return":"thawed"'*) confirm=thawed ;;
    *'{"return":"frozen"'*) confirm=frozen ;;
    *)
      echo "$answer" >failed
      exit 1
      ;;
    esac
  fi
  start_of $$
  echo "$$ $start $confirm" >"guard.$number" || exit 1
  while :; do
    still_here || exit 0
    { read -r phase _ <phase; } 2>/dev/null || exit 0
    { read -r deadline <deadline; } 2>/dev/null || exit 0
    now
    left=$((deadline - now))
    [ $rebooted = no ] || left=0
    case $phase in
    armed | refused | thawed)
      # Nothing of ours is frozen. A dead owner's lease goes at once.
      if owner_lives; then
        [ "$phase" != armed ] || watch_partner
        nap 100
      else
        abandon
      fi
      ;;
    *)
      if [ "$number" = 2 ]; then left=$((left + 200)); fi
      if [ $left -gt 0 ]; then
        watch_partner
        if [ $left -gt 200 ]; then left=200; fi
        nap $left
      elif [ "$number" = 2 ] && lives guard.1; then
        nap 100
      elif [ -e result ]; then
        finish
        nap 100
      else
        round
      fi
      ;;
    esac
  done
}

# Removes a lease under which nothing is frozen and nobody works any more.
abandon() {
  # The owner's last virsh may still be at it (setting the mark), after its death.
  orphaned=$((orphaned + 1))
  if [ $orphaned -lt 4 ]; then nap 100 && return; fi
  flock 9
  if still_here && read -r phase _ <phase; then
    case $phase in armed | refused | thawed) finish ;; esac
  fi
  flock -u 9
  nap 100
}

# One attempt under the lock, and a pause.
round() {
  flock 9
  if ! still_here; then exit 0; fi
  # Read again under the lock: renewed, or somebody else has finished it.
  { read -r phase _ <phase && read -r deadline <deadline; } 2>/dev/null || exit 0
  now
  case $phase in freezing | unknown | frozen) ;; *) flock -u 9 && return ;; esac
  if { [ $rebooted = no ] && [ "$deadline" -gt "$now" ]; } || [ -e result ]; then flock -u 9 && return; fi
  if attempt; then
    say "done: $result"
    echo "$result" >result
    finish
  fi
  flock -u 9
  rounds=$((rounds + 1))
  if [ -n "$first" ]; then nap 200; elif [ $rounds -lt 100 ]; then nap 30; else nap 200; fi
}

claim() {
  exec 9<.
  flock 9
  load
  if ! still_here; then exit 1; fi
  if owner_lives; then exit 75; fi
  next=1
  while [ -e "owner.$next" ]; do next=$((next + 1)); done
  start_of "$1" && echo "$1 $start" >"owner.$next"
}

renew() {
  exec 9<.
  flock 9
  load
  if ! still_here; then exit 1; fi
  read -r deadline <deadline
  now
  if [ "$deadline" -le "$now" ] || [ -e result ]; then exit 75; fi
  echo "$1" >deadline.new && mv deadline.new deadline
}

verb=$1 lease=$2 number=$3
cd "$lease" 2>/dev/null || exit 1
case $verb in
run) run ;;
claim) claim "$3" ;;
renew) renew "$3" ;;
esac
