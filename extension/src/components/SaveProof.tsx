import type { JSX } from 'react';
import { Button } from './basics.js';
import { save } from './save.js';

/** Hands a proof that this browser has checked to its person as a file, which anybody can verify without this installation. */
export function SaveProof({ entry, file }: { readonly entry: number; readonly file: string }): JSX.Element {
  return (
    <Button
      name={`Save the proof of entry ${entry}`}
      onClick={() => {
        save(new Blob([file], { type: 'application/octet-stream' }), `entry-${entry}.tlog-proof`);
      }}
    >
      Save the proof
    </Button>
  );
}
