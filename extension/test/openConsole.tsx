import { render } from '@testing-library/react';
import userEvent, { type UserEvent } from '@testing-library/user-event';
import { ConsoleClient } from '../src/api/console.js';
import { App } from '../src/components/console/App.js';
import type { World } from './world.js';

/** The whole console at an address (`#/policy`), and who uses it. */
export function openConsole(world: World, hash = ''): UserEvent {
  window.location.hash = hash;
  render(<App client={new ConsoleClient(world.transport)} />);
  return userEvent.setup();
}
