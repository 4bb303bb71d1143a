import { describe, expect, test } from 'vitest';
import { newerMachineType, parseMachineType, virtioBlkDiscard } from '../../../host/doctor/machine-type.ts';

const qemu = { major: 7, minor: 2, patch: 0 };

describe('virtio-blk discard by machine type', () => {
  test.each([
    ['pc-i440fx-3.1', false],
    ['pc-i440fx-4.0', true],
    ['pc-q35-3.1', false],
    ['pc-q35-4.0.1', true],
    ['pc-1.3', false],
    ['pc', true],
    ['q35', true],
    ['virt-3.1', false],
    ['virt-4.0', true],
    ['virt', true],
    ['pseries-3.1', false],
    ['pseries-4.2', true],
    ['pseries-rhel7.6.0-sxxm', false],
    ['s390-ccw-virtio-3.1', false],
    ['s390-ccw-virtio-4.0', true],
    ['s390-ccw-virtio-rhel7.6.0', false],
    ['s390-ccw-virtio-focal', true],
    ['pc-i440fx-disco', false],
    ['pc-i440fx-disco-hpb', false],
    ['pc-q35-eoan', true],
    ['pc-q35-eoan-hpb', true],
    ['pc-i440fx-bionic', false],
    ['pc-q35-noble', true],
    ['ubuntu', true],
    ['rhel6.6.0', false],
    ['pc-i440fx-rhel7.6.0', false],
    ['pc-i440fx-rhel10.0.0', true],
    ['pc-q35-rhel8.0.0', false],
    ['pc-q35-rhel8.1.0', true],
    ['virt-rhel8.6.0', true],
    ['microvm', true],
    ['isapc', true],
  ])('%s: %s', (name, offered) => {
    expect(virtioBlkDiscard(parseMachineType(name), qemu).offered).toBe(offered);
  });

  test('QEMU 3.1 has none, whatever the type is called', () => {
    expect(virtioBlkDiscard(parseMachineType('pc'), { major: 3, minor: 1, patch: 0 }).offered).toBe(false);
  });

  test('an alias under an unknown QEMU is unknown', () => {
    expect(virtioBlkDiscard(parseMachineType('q35'), null).offered).toBe(null);
  });
});

describe('the newer type', () => {
  const host = ['pc-i440fx-3.1', 'pc-i440fx-7.2', 'pc-i440fx-7.10', 'pc-q35-8.0', 'pc', 'q35', 'pc-i440fx-jammy', 'pc-i440fx-jammy-hpb'];

  test('is the newest of the same chipset, by number and not by text', () => {
    expect(newerMachineType(parseMachineType('pc-i440fx-3.1'), host, qemu)).toBe('pc-i440fx-7.10');
  });

  test("stays with the same vendor's names where there are some", () => {
    expect(newerMachineType(parseMachineType('pc-i440fx-bionic'), host, qemu)).toBe('pc-i440fx-jammy');
  });

  test('is never of another chipset', () => {
    expect(newerMachineType(parseMachineType('pc-i440fx-3.1'), ['pc-q35-8.0', 'pc-i440fx-3.1'], qemu)).toBe(null);
  });
});
