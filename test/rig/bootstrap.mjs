// Makes a fresh Debian ready for the demo or the tests, then runs what stands behind `--`:
//
//   node test/rig/bootstrap.mjs --for demo|test|long|bench|fuzz [-- COMMAND ARGUMENT…]
//
// It starts from a bare clone, so it needs nothing but Node, and has to be readable by a Node that is too old: that is one of the
// things it says. Exit 2: something is missing that it cannot install; what and how to get it is printed.
import { spawnSync } from 'child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'fs';
import { constants } from 'os';
import { dirname, join } from 'path';
import { fileURLToPath } from 'url';

const program = fileURLToPath(import.meta.url);
const project = join(dirname(program), '..', '..');
const wantedNode = [20, 19];

const demoPackages = [
  'libvirt-daemon-system libvirt-clients libvirt-daemon-driver-qemu qemu-system-x86 qemu-utils seabios',
  'busybox-static e2fsprogs kmod util-linux mount xz-utils',
];
const testPackages = [
  'qemu-guest-agent debootstrap xfsprogs btrfs-progs dosfstools f2fs-tools dmsetup lvm2 cryptsetup-bin rsync', // the rig
  'zsh fish groff-base man-db borgbackup borgmatic python3-minimal strace systemd xorriso', // what tests drive or watch with
  'systemd python3', // the daemon's units are verified, and a notification socket is played
  'gcc binutils libc6-dev musl-dev linux-libc-dev gcc-aarch64-linux-gnu linux-libc-dev-arm64-cross qemu-user-static', // the guest agent
];
const longPackages = [
  'guestfish openssh-client cryptsetup-bin xorriso', // agents installed offline and over ssh, a LUKS image, seeds for cloud-init
];
const benchPackages = ['faketime time']; // a clock that is set back under one process
const fuzzPackages = ['clang libclang-rt-dev'];
const packagesFor = {
  demo: demoPackages,
  test: demoPackages.concat(testPackages),
  long: demoPackages.concat(testPackages, longPackages),
  bench: demoPackages.concat(testPackages, benchPackages),
  fuzz: demoPackages.concat(testPackages, fuzzPackages),
};
/** What the user has typed. */
const commandFor = { demo: 'npm run demo', test: 'npm test', long: 'npm run test:long', bench: 'npm run bench', fuzz: 'npm run fuzz' };

function fail(lines) {
  process.stderr.write(`${lines.join('\n')}\n`);
  process.exit(2);
}

function say(text) {
  process.stderr.write(`virt-trim bootstrap: ${text}\n`);
}

/** Runs a program; ends us with 2 and its words when it fails. */
function run(file, args, options = {}) {
  const result = spawnSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 28, ...options });
  if (result.error) fail([`${file}: ${result.error.message}`]);
  if (result.status !== 0 && options.mayFail !== true) {
    fail([
      `${[file, ...args].join(' ')}: status ${result.status === null ? result.signal : result.status}`,
      result.stdout || '',
      result.stderr || '',
    ]);
  }
  return result;
}

function readOsRelease() {
  if (!existsSync('/etc/os-release')) return {};
  const values = {};
  for (const line of readFileSync('/etc/os-release', 'utf8').split('\n')) {
    const match = /^(\w+)="?([^"]*)"?$/.exec(line);
    if (match) values[match[1]] = match[2];
  }
  return values;
}

/** All that no program can install for us, each with the way to get it. */
function findObstacles() {
  const obstacles = [];
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < wantedNode[0] || (major === wantedNode[0] && minor < wantedNode[1])) {
    obstacles.push(
      `Node ${wantedNode.join('.')} or newer: this is ${process.versions.node}. Debian 13 has it (apt install nodejs npm); for Debian 12 take a package`,
      '  from https://github.com/nodesource/distributions or an archive from https://nodejs.org/en/download, and put it on PATH.',
    );
  }
  const system = readOsRelease();
  if (system.ID !== 'debian' || !['12', '13'].includes(system.VERSION_ID)) {
    obstacles.push(
      `Debian 12 or 13: this is ${system.PRETTY_NAME || process.platform}. The guest's kernel and the packages come from Debian's archive.`,
      '  A virtual machine will do, or a chroot: debootstrap trixie /srv/trixie, mount --bind /proc, /dev and /sys there, chroot /srv/trixie.',
    );
  }
  if (process.arch !== 'x64') obstacles.push(`An x86-64 machine: this is ${process.arch}.`);
  if (process.getuid && process.getuid() !== 0) {
    obstacles.push('root, for mount namespaces and for installing packages: run the same command behind sudo, or in a root shell.');
  }
  if (spawnSync('npm', ['--version']).error) obstacles.push('npm: it comes with Node from nodejs.org; on Debian: apt install npm.');
  return obstacles;
}

function findMissing(names) {
  const listed = spawnSync('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\n'].concat(names), { encoding: 'utf8' });
  const installed = new Set(
    listed.stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  );
  return names.filter((name) => !installed.has(name));
}

const policy = '/usr/sbin/policy-rc.d';
const savedPolicy = `${policy}.virt-trim-saved`;
const policyMark = "written by virt-trim's bootstrap";

/**
 * Keeps maintainer scripts from starting or restarting daemons of libvirt while apt runs (Debian policy 9.3.3.1). It holds for as
 * long as we live: one that a SIGKILL left behind does nothing, and the next bootstrap removes it.
 */
function guardServices() {
  if (existsSync(policy) && !readFileSync(policy, 'utf8').includes(policyMark)) renameSync(policy, savedPolicy);
  const text = `#!/bin/sh
# ${policyMark}, which removes it again when apt has ended
name=$1; [ "$name" = --quiet ] && name=$2
if [ -d /proc/${process.pid} ]; then
  case $name in libvirt*|virt*d|virt*d.*|virt*-*|qemu-guest-agent*) exit 101 ;; esac
fi
[ -x ${savedPolicy} ] && exec ${savedPolicy} "$@"
exit 0
`;
  writeFileSync(policy, text);
  chmodSync(policy, 0o755);
}

function unguardServices() {
  if (existsSync(policy) && readFileSync(policy, 'utf8').includes(policyMark)) rmSync(policy);
  if (existsSync(savedPolicy)) renameSync(savedPolicy, policy);
}

/** Units of libvirt that systemd would start at the next boot. */
function findEnabledUnits() {
  const root = '/etc/systemd/system';
  const folders = existsSync(root) ? readdirSync(root).filter((name) => name.endsWith('.wants')) : [];
  const units = folders.reduce((all, name) => all.concat(readdirSync(join(root, name))), []);
  return Array.from(new Set(units.filter((name) => /^(libvirt|virt\w+d[-.])/.test(name))));
}

/** Debian enables what it installs. Where we brought libvirt, nothing of it shall run after the next boot that did not before. */
function disableUnits(units) {
  if (units.length === 0) return;
  spawnSync('systemctl', ['--no-reload', 'disable', '--quiet'].concat(units), { stdio: 'ignore' });
  say('libvirt is installed and neither started nor enabled; for guests of your own: systemctl enable --now libvirtd');
}

const aptEnvironment = Object.assign({}, process.env, { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C', NEEDRESTART_MODE: 'l' });
const aptOptions = ['-q', '-y', '-o', 'DPkg::Lock::Timeout=600', '-o', 'Dpkg::Use-Pty=0'];

/** Another apt may hold the list lock, which DPkg::Lock::Timeout does not cover everywhere. */
function updateLists() {
  say('apt-get update');
  for (let left = 60; ; left -= 1) {
    const result = run('apt-get', aptOptions.concat('update'), { env: aptEnvironment, mayFail: left > 0 });
    if (result.status === 0) return;
    if (!/Could not get lock|Unable to lock/.test(result.stderr)) {
      fail(['apt-get update failed:', result.stderr, 'Look at /etc/apt/sources.list and at the network.']);
    }
    spawnSync('sleep', ['5']);
  }
}

function installPackages(missing) {
  const install = ['install', '--no-install-recommends', '--no-upgrade'].concat(missing);
  const plan = run('apt-get', ['-s', '-q'].concat(install), { env: aptEnvironment, mayFail: true });
  if (plan.status !== 0) fail([`apt cannot install: ${missing.join(' ')}`, plan.stderr]);
  // "Inst NAME [OLD] (NEW …)" is an upgrade, "Remv" a removal. What the machine's own guests run on stays as it is.
  const touched = plan.stdout.split('\n').filter((line) => /^(Remv|Inst) (libvirt|qemu)\S* \[/.test(line));
  if (touched.length > 0) {
    fail([
      'Installing what is missing would change the libvirt or QEMU that this machine has already:',
      ...touched.map((line) => `  ${line}`),
      `Nothing was done. If that is fine, run it yourself: apt-get install --no-install-recommends ${missing.join(' ')}`,
    ]);
  }
  say(`installing ${missing.join(' ')}`);
  const enabled = findEnabledUnits();
  guardServices();
  try {
    const result = run('apt-get', aptOptions.concat(install), { env: aptEnvironment, mayFail: true });
    if (result.status !== 0) fail([`apt-get install ${missing.join(' ')} failed:`, result.stdout.slice(-3000), result.stderr]);
  } finally {
    unguardServices();
  }
  disableUnits(findEnabledUnits().filter((unit) => !enabled.includes(unit)));
}

/** Debian's kernel for the guest is downloaded by the demo itself; here only apt's lists are made ready for it. */
function hasKernel() {
  const cache = process.env.VIRT_TRIM_DEMO_CACHE || '/var/cache/virt-trim-demo';
  return existsSync(cache) && readdirSync(cache).some((name) => name.startsWith('kernel-'));
}

function prepareSystem(purpose) {
  const names = packagesFor[purpose].join(' ').split(' ');
  unguardServices(); // what a bootstrap that was killed left
  const missing = findMissing(names);
  if (missing.length > 0 || !hasKernel()) updateLists();
  if (missing.length > 0) installPackages(missing);
}

/** The youngest file below a folder, in ms since 1970; `dist` is what is made of them. */
function newestChange(folder) {
  return readdirSync(folder, { withFileTypes: true }).reduce((newest, entry) => {
    if (entry.name === 'dist') return newest;
    const file = join(folder, entry.name);
    return Math.max(newest, entry.isDirectory() ? newestChange(file) : statSync(file).mtimeMs);
  }, 0);
}

/** The tests run the guest agent as it ships. Compiling its engine takes a minute, so only when something changed. */
function buildGuestAgent() {
  const made = join(project, 'guest', 'dist', 'build-info.json');
  const sources = ['guest', 'shared'].map((name) => newestChange(join(project, name)));
  if (existsSync(made) && statSync(made).mtimeMs > Math.max(...sources, statSync(join(project, 'package.json')).mtimeMs)) return;
  say('building the guest agent');
  const result = run('npm', ['run', '--silent', 'build:guest'], { cwd: project, mayFail: true });
  if (result.status !== 0) say(`the guest agent was not built, so its tests will fail: ${result.stderr}`);
}

function prepareProject(purpose) {
  const lockFile = join(project, 'package-lock.json');
  const installed = join(project, 'node_modules', '.package-lock.json');
  if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lockFile).mtimeMs) {
    say('npm ci');
    run('npm', ['ci'], { cwd: project });
  }
  run('npm', ['run', '--silent', 'build'], { cwd: project });
  if (purpose !== 'demo') buildGuestAgent();
}

/** One at a time on this machine: apt, policy-rc.d and node_modules are shared. flock(1) lets go when its child ends. */
function prepareLocked(purpose) {
  const locked = spawnSync('flock', ['/run/lock/virt-trim-bootstrap', process.execPath, program, '--for', purpose, '--locked'], {
    stdio: 'inherit',
  });
  if (locked.error) fail([`flock: ${locked.error.message}`]);
  if (locked.status !== 0) process.exit(locked.status === null ? 1 : locked.status);
}

function main(argv) {
  const end = argv.indexOf('--');
  const command = end === -1 ? [] : argv.slice(end + 1);
  const options = end === -1 ? argv : argv.slice(0, end);
  const purpose = options[options.indexOf('--for') + 1];
  if (!Object.keys(packagesFor).includes(purpose)) {
    fail([`usage: node test/rig/bootstrap.mjs --for ${Object.keys(packagesFor).join('|')} [-- COMMAND ARGUMENT…]`]);
  }
  if (options.includes('--locked')) {
    // A Ctrl-C reaches apt as well, which ends in order; we have to live on to take the guard away.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});
    prepareSystem(purpose);
    return prepareProject(purpose);
  }
  const obstacles = findObstacles();
  if (obstacles.length > 0)
    fail([`${commandFor[purpose]} needs, and does not find:`, ...obstacles.map((line) => (line.startsWith(' ') ? line : `- ${line}`))]);
  prepareLocked(purpose);
  if (command.length === 0) return undefined;
  // The command decides about Ctrl-C; we only pass its end on.
  process.on('SIGINT', () => {});
  const result = spawnSync(command[0], command.slice(1), { stdio: 'inherit', cwd: project });
  if (result.error) fail([`${command[0]}: ${result.error.message}`]);
  return process.exit(result.status === null ? 128 + constants.signals[result.signal] : result.status);
}

main(process.argv.slice(2));
