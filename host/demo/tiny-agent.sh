#!/bin/sh
# Starts and stops the tiny guest's agent: /rig/agent start|stop. Its kind and arguments stand in /rig.
port=/dev/virtio-ports/org.qemu.guest_agent.0
far=/dev/virtio-ports/virt-trim.agent.0

# Bytes go through unchanged between the agent's port and the one that the test's own agent listens on.
# A read of 0 bytes means that nobody is at the host's end of the port.
relay() {
  exec 3<>"$port" 4<>"$far"
  while :; do cat <&3 >&4; sleep 0.05; done &
  while :; do cat <&4 >&3; sleep 0.05; done
}

case $1 in
start)
  kind=$(cat /rig/agent-kind)
  set -- # the arguments, one per line
  while read -r word; do set -- "$@" "$word"; done </rig/agent-arguments
  case $kind in
  none) exit 0 ;;
  scripted) setsid sh /rig/agent relay </dev/null >/run/agent.log 2>&1 & ;;
  *) setsid /rig/agent-program "$@" </dev/null >/run/agent.log 2>&1 & ;;
  esac
  echo $! >/run/agent.pid
  ;;
relay) relay ;;
stop)
  [ -s /run/agent.pid ] || exit 0
  # setsid made it the leader of a session and a group: all of the relay goes at once, and with it the open port.
  kill -KILL -- "-$(cat /run/agent.pid)" 2>/dev/null || kill -KILL "$(cat /run/agent.pid)" 2>/dev/null
  while kill -0 "$(cat /run/agent.pid)" 2>/dev/null; do sleep 0.01; done
  rm /run/agent.pid
  ;;
esac
