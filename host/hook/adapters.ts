import { AppError } from '../../shared/errors.ts';
import { exitStatus, type CommandContext } from '../commands/context.ts';

export interface Adapter {
  readonly name: string;
  readonly summary: string;
  readonly snippet: string;
}

/** Ready snippets; docs/hooks.md explains each, and says which one was run for real. */
export const adapters: readonly Adapter[] = [
  {
    name: 'borgmatic',
    summary: 'borgmatic 1.7 and later 1.x: before_backup, after_backup, on_error (run for real with 1.7.7)',
    snippet: `# /etc/borgmatic/config.yaml
# Status 75 of a before_backup hook is a soft failure: this configuration is skipped, others go on.
hooks:
    before_backup:
        - virt-trim hook pre --mode trim db1
        - virt-trim hook pre --mode freeze --caller borgmatic --lease 10m --require filesystem db1
    after_backup:
        - virt-trim hook post --caller borgmatic db1
    on_error:
        - virt-trim hook post --caller borgmatic --if-leased db1
`,
  },
  {
    name: 'borgmatic-2',
    summary: 'borgmatic 2.x: commands',
    snippet: `# /etc/borgmatic/config.yaml
commands:
    - before: action
      when: [create]
      run:
          - virt-trim hook pre --mode trim db1
          - virt-trim hook pre --mode freeze --caller borgmatic --lease 10m --require filesystem db1
    - after: action
      when: [create]
      states: [finish]
      run:
          - virt-trim hook post --caller borgmatic db1
    - after: action
      when: [create]
      states: [fail]
      run:
          - virt-trim hook post --caller borgmatic --if-leased db1
`,
  },
  {
    name: 'resticprofile',
    summary: 'resticprofile: run-before, run-after, run-finally',
    snippet: `# profiles.yaml
default:
  backup:
    source: [/var/lib/libvirt/images/db1.qcow2]
    run-before:
      - virt-trim hook pre --mode trim db1
      - virt-trim hook pre --mode freeze --caller resticprofile --lease 10m db1
    run-after:
      - virt-trim hook post --caller resticprofile db1
    run-finally:
      - virt-trim hook post --caller resticprofile --if-leased db1
`,
  },
  {
    name: 'sanoid',
    summary: 'sanoid: pre_snapshot_script, post_snapshot_script (freeze only; trim by schedule)',
    snippet: `# /etc/sanoid/sanoid.conf
# sanoid kills a script after script_timeout (5 s): long enough to freeze, not to trim. Trim by "virt-trim schedule" instead.
[tank/vm/db1]
    use_template = production
    pre_snapshot_script = /etc/sanoid/virt-trim-pre
    post_snapshot_script = /etc/sanoid/virt-trim-post
    script_timeout = 15
    force_post_snapshot_script = yes

# /etc/sanoid/virt-trim-pre (mode 0755)
#!/bin/sh
exec virt-trim hook pre --mode freeze --caller sanoid --lease 30s db1

# /etc/sanoid/virt-trim-post (mode 0755)
#!/bin/sh
exec virt-trim hook post --caller sanoid --if-leased db1
`,
  },
  {
    name: 'bareos',
    summary: 'Bareos and Bacula: RunScript',
    snippet: `# In the Job resource of the director; the scripts run on the client, the hypervisor.
Job {
  Name = "db1-image"
  # … Client, FileSet, Storage, Pool
  RunScript {
    RunsWhen = Before
    RunsOnClient = yes
    FailJobOnError = yes
    Command = "virt-trim hook pre --mode freeze --caller bareos --lease 10m db1"
  }
  RunScript {
    RunsWhen = After
    RunsOnClient = yes
    RunsOnSuccess = yes
    RunsOnFailure = yes
    Command = "virt-trim hook post --caller bareos --if-leased db1"
  }
}
`,
  },
  {
    name: 'amanda',
    summary: 'Amanda: a Script-API script',
    snippet: `# amanda.conf on the server
define script-tool virt-trim {
  plugin "virt-trim"
  execute_on pre-dle-backup, post-dle-backup
  execute_where client
  property "domain" "db1"
}
# and in the dumptype of the guest's images:  script "virt-trim"

# /usr/lib/amanda/application/virt-trim (Amanda's application directory) on the client (mode 0755): Amanda gives the phase as the first word and properties as options
#!/bin/sh
phase=$1 domain=
while [ $# -gt 0 ]; do [ "$1" = --domain ] && domain=$2; shift; done
case $phase in
support) echo "MESSAGE-LINE YES"; echo "EXECUTE-WHERE YES" ;;
PRE-DLE-BACKUP) exec virt-trim hook pre --mode freeze --caller amanda --lease 10m "$domain" >&2 ;;
POST-DLE-BACKUP) exec virt-trim hook post --caller amanda --if-leased "$domain" >&2 ;;
esac
`,
  },
  {
    name: 'libvirt',
    summary: "libvirt's own hook script (must not call libvirt itself)",
    snippet: `#!/bin/sh
# /etc/libvirt/hooks/qemu (mode 0755; restart libvirtd once). libvirtd waits for this script while it holds the domain's lock: whoever
# calls libvirt in it, virsh and virt-trim included, waits for libvirtd in turn, for ever. So it only starts something that runs later,
# with none of libvirtd's descriptors. Under systemd:
case "$2-$3" in
started-begin | migrate-begin | restore-begin)
  # A guest that comes here frozen (restored, migrated) is thawed once its lease is over.
  systemd-run --no-block --collect --on-active=10s virt-trim -q recover </dev/null >/dev/null 2>&1
  ;;
esac
exit 0
# Without systemd:  setsid sh -c 'sleep 10; exec virt-trim -q recover' </dev/null >/dev/null 2>&1 &
`,
  },
];

/** `virt-trim hook adapters` */
export function printAdapter(context: Pick<CommandContext, 'out'>, name: string | undefined): number {
  if (name === undefined) {
    for (const adapter of adapters) context.out(`${adapter.name.padEnd(15)} ${adapter.summary}\n`);
    return exitStatus.done;
  }
  const adapter = adapters.find((each) => each.name === name);
  if (adapter === undefined) {
    throw new AppError('usage', `no adapter '${name}'; there are ${adapters.map((each) => each.name).join(', ')}`);
  }
  context.out(adapter.snippet);
  return exitStatus.done;
}
