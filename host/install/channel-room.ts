import type { Element } from '@xmldom/xmldom';
import { attribute, child, children } from '../libvirt/xml.ts';
import { isAgentChannel } from './device-xml.ts';

/** Where the agent's channel stands in one of a domain's two XMLs, or could stand. */
export interface ChannelRoom {
  readonly present: boolean;
  /** A virtio-serial controller with a free port: a channel can be plugged in while the machine runs. */
  readonly hotplug: boolean;
  /** Why it cannot, in words; null where it can. */
  readonly obstacle: string | null;
}

/** QEMU's virtio-serial device takes 31 ports unless told otherwise; port 0 is kept for the first console (hw/char/virtio-serial-bus.c). */
const defaultPorts = 31;

function serialPortsUsed(devices: Element, controller: string): number {
  return ['channel', 'console']
    .flatMap((name) => children(devices, name))
    .filter((device) => {
      const address = child(device, 'address');
      return attribute(address, 'type') === 'virtio-serial' && (attribute(address, 'controller') ?? '0') === controller;
    }).length;
}

/**
 * libvirt can plug a channel into a running domain, but not the controller that it needs: `attach-device` of a virtio-serial
 * controller is refused (9.0, 11.3: "cannot be hotplugged").
 */
export function readChannelRoom(domain: Element): ChannelRoom {
  const devices = child(domain, 'devices');
  if (devices === undefined) return { present: false, hotplug: false, obstacle: 'the domain has no devices' };
  const present = children(devices, 'channel').some(isAgentChannel);
  const controllers = children(devices, 'controller').filter((controller) => attribute(controller, 'type') === 'virtio-serial');
  if (controllers.length === 0) return { present, hotplug: false, obstacle: 'the running machine has no virtio-serial controller' };
  const free = controllers.some((controller) => {
    const ports = Number(attribute(controller, 'ports') ?? defaultPorts);
    // Port 0 is not given to channels.
    return serialPortsUsed(devices, attribute(controller, 'index') ?? '0') < ports - 1;
  });
  return { present, hotplug: free, obstacle: free ? null : 'its virtio-serial controller has no free port' };
}
