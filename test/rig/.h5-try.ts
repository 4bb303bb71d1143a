import { startRig } from '/work/main/test/rig/rig.ts';
import { Connection } from '/work/main/host/libvirt/connection.ts';
import { attachChannel, detachChannel, readXmls, channelFacts, restoreXml } from '/work/main/host/install/channel.ts';
import { DOMParser } from '@xmldom/xmldom';
const rig = await startRig();
const c = new Connection(rig.uri);
const g = await rig.boot({ name: 'c1', agent: { kind: 'none' }, channel: false });
let x = await readXmls(c, g.uuid, true);
console.log(channelFacts(x));
await attachChannel(c, g.uuid, 'config', '/tmp'); await attachChannel(c, g.uuid, 'live', '/tmp');
console.log(channelFacts(await readXmls(c, g.uuid, true)));
console.log(await g.runChecked('ls -l /dev/virtio-ports /sys/class/virtio-ports; cat /sys/class/virtio-ports/*/name'));
await detachChannel(c, g.uuid, 'live', '/tmp'); await detachChannel(c, g.uuid, 'config', '/tmp');
let y = await readXmls(c, g.uuid, true);
console.log('inactive same after detach', x.inactive === y.inactive);
await restoreXml(c, x.inactive!, '/tmp');
y = await readXmls(c, g.uuid, true);
console.log('inactive same after define', x.inactive === y.inactive, 'live same', x.live === y.live);
// no controller
const h = await rig.define({ name: 'c2', agent: { kind: 'none' }, channel: false, edit: (d) => { const dev = d.getElementsByTagName('devices')[0]!; for (const ch of Array.from(dev.getElementsByTagName('channel'))) dev.removeChild(ch); } });
let hx = await readXmls(c, h.uuid, false);
console.log(channelFacts(hx));
await attachChannel(c, h.uuid, 'config', '/tmp');
let hy = await readXmls(c, h.uuid, false); console.log(channelFacts(hy));
await detachChannel(c, h.uuid, 'config', '/tmp'); console.log('same', (await readXmls(c, h.uuid, false)).inactive === hx.inactive);
await restoreXml(c, hx.inactive!, '/tmp'); console.log('same', (await readXmls(c, h.uuid, false)).inactive === hx.inactive);
await h.start();
try { await attachChannel(c, h.uuid, 'live', '/tmp'); console.log(channelFacts(await readXmls(c, h.uuid, true))); } catch (e) { console.log(String(e)); }
await rig.dispose();
