/** `--help`. */
export const usageText = `Usage: virt-trim-agent [-m METHOD -p PATH] [OPTION...]
       virt-trim-agent --once [--splay TIME] [--minimum BYTES]

A guest agent that freezes, thaws and trims, on the channel and in the words of
qemu-ga. It executes nothing, starts no processes and reads no files for its host.

  -m, --method      virtio-serial (the default), isa-serial or unix-listen
  -p, --path        device or socket (default for virtio-serial:
                    /dev/virtio-ports/org.qemu.guest_agent.0, for isa-serial: /dev/ttyS0)
  -l, --logfile     write a log here, besides syslog or the journal
  -f, --pidfile     with -d (default /run/virt-trim-agent.pid)
  -t, --statedir    where the frozen state is kept, on tmpfs only (default /run)
  -v, --verbose     more in the log; without -l it goes to stderr too
  -d, --daemonize   become a daemon
  -b, --block-rpcs  comma-separated commands that are refused ("help" lists all)
  -a, --allow-rpcs  comma-separated commands; all others are refused
  -r, --retry-path  wait for a channel that is not there yet
  -D, --dump-conf   print the settings in force as a configuration file
  -V, --version     print the version
  -h, --help        print this
      --watchdog T  a frozen guest thaws itself after this time (default 300 s)
      --once        trim every filesystem once, one line for each, and end
      --splay T     with --once: wait up to this long first, by the machine's id
      --minimum N   with --once: leave free extents smaller than N bytes alone
      --force       with --once: also where this does not look like a virtual machine

Times are seconds, or 15m, 3h, 1d. Settings are also read from group [general] of
/etc/qemu/qemu-ga.conf, or of the file that QGA_CONF names.
`;
