import { Component, type ReactNode } from 'react';
import { ProblemView } from './basics.js';

/** What cannot be drawn becomes a problem in words instead of an empty page. */
export class Boundary extends Component<{ readonly children: ReactNode }, { readonly failed: boolean }> {
  override readonly state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override render(): ReactNode {
    return this.state.failed ? (
      <ProblemView
        problem={{
          type: 'urn:strongroom:problem:display',
          title: 'This cannot be shown',
          status: 0,
          detail: 'The page could not make sense of what the server answered. Nothing was changed.',
          why: [],
          next: 'Reload the page. If it stays, tell your administrator: page and server may be of different versions.'
        }}
      />
    ) : (
      this.props.children
    );
  }
}
