import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IThemeManager } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import { IRenderMimeRegistry, type IRenderMime } from '@jupyterlab/rendermime';
import type { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';
import { FramePace, frameWord } from '../api/frames.js';
import type { EnclaveStore } from '../api/store.js';
import { IEnclave } from './tokens.js';

interface Kind {
  readonly mime: string;
  /** The last part of the document's address. */
  readonly name: string;
  readonly title: string;
}

const KINDS: readonly Kind[] = [
  { mime: 'application/vnd.plotly.v1+json', name: 'plotly', title: 'Interactive figure' },
  { mime: 'application/vnd.strongroom.table+json', name: 'table', title: 'Interactive table' }
];
const STILL = 'text/html';

interface Surroundings {
  readonly store: EnclaveStore;
  readonly registry: IRenderMimeRegistry;
  readonly base: string;
  readonly isDark: () => boolean;
}

/**
 * An output that does something, in a frame without an origin: it cannot reach this page, its cookies or any host.
 *
 * The page hands in the output's data, and hears of the frame nothing but its height. At labels above public there is no
 * frame, also where one stood before: the plain form is shown, or words.
 */
class FrameRenderer extends Widget implements IRenderMime.IRenderer {
  readonly #kind: Kind;
  readonly #around: Surroundings;
  #model: IRenderMime.IMimeModel | null = null;
  #frame: HTMLIFrameElement | null = null;
  #pace = new FramePace();
  #shown: 'nothing' | 'frame' | 'still' | 'stopped' = 'nothing';
  #leave: (() => void) | null = null;

  constructor(kind: Kind, around: Surroundings) {
    super();
    this.#kind = kind;
    this.#around = around;
    this.layout = new PanelLayout();
    this.addClass('sr-Frame');
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.#model = model;
    if (this.#shown === 'frame') {
      this.#send();
    } else {
      this.#shown = 'nothing';
      this.#follow();
    }
    return Promise.resolve();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    window.addEventListener('message', this.#hear);
    this.#leave = this.#around.store.subscribe(this.#follow);
    this.#follow();
  }

  protected override onBeforeDetach(message: Message): void {
    window.removeEventListener('message', this.#hear);
    this.#leave?.();
    super.onBeforeDetach(message);
  }

  readonly #follow = (): void => {
    const label = this.#around.store.snapshot().session?.label;
    if (this.#model === null || label === undefined || this.#shown === 'stopped') {
      return;
    }
    if (label === 'public') {
      if (this.#shown !== 'frame') {
        this.#open();
      }
    } else if (this.#shown !== 'still') {
      this.#close();
      this.#shown = 'still';
      this.#still(this.#model, `Interactive output is not shown at label ${label}.`);
    }
  };

  #open(): void {
    this.#close();
    const frame = document.createElement('iframe');
    frame.setAttribute('sandbox', 'allow-scripts');
    frame.referrerPolicy = 'no-referrer';
    frame.title = this.#kind.title;
    frame.src = URLExt.join(this.#around.base, 'strongroom/frames', this.#kind.name);
    this.node.append(frame);
    this.#frame = frame;
    this.#pace = new FramePace();
    this.#shown = 'frame';
  }

  #close(): void {
    this.#frame?.remove();
    this.#frame = null;
    for (const child of [...(this.layout as PanelLayout).widgets]) {
      child.dispose();
    }
    this.node.replaceChildren();
  }

  #send(): void {
    // The frame has no origin that could be named; where it can go is fixed by the page's own policy.
    this.#frame?.contentWindow?.postMessage(
      { strongroom: 'show', data: this.#model?.data[this.#kind.mime], dark: this.#around.isDark() },
      '*'
    );
  }

  #still(model: IRenderMime.IMimeModel, why: string): void {
    this.#say(why);
    if (STILL in model.data) {
      const plain = this.#around.registry.createRenderer(STILL);
      (this.layout as PanelLayout).addWidget(plain);
      void plain.renderModel(model);
    }
  }

  #say(text: string): void {
    const words = document.createElement('p');
    words.textContent = text;
    (this.layout as PanelLayout).addWidget(new Widget({ node: words }));
  }

  readonly #hear = (event: MessageEvent<unknown>): void => {
    if (this.#frame === null || event.source !== this.#frame.contentWindow) {
      return;
    }
    if (!this.#pace.take(event.timeStamp)) {
      this.#close();
      this.#shown = 'stopped';
      this.#say('This output was stopped: it sent this page more messages than an output has reason to.');
      return;
    }
    const word = frameWord(event.data);
    if (word === null) {
      return;
    }
    if ('ready' in word) {
      this.#send();
    } else {
      this.#frame.height = String(word.height);
    }
  };
}

export const framesPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-strongroom:frames',
  description: 'Shows figures of Plotly and tables of ITables at label public, each in a frame that reaches nothing.',
  autoStart: true,
  requires: [IEnclave, IRenderMimeRegistry],
  optional: [IThemeManager],
  activate: (
    app: JupyterFrontEnd,
    { store }: IEnclave,
    registry: IRenderMimeRegistry,
    themes: IThemeManager | null
  ) => {
    const around = {
      store,
      registry,
      base: app.serviceManager.serverSettings.baseUrl,
      isDark: () => themes?.theme != null && !themes.isLight(themes.theme)
    };
    for (const kind of KINDS) {
      registry.addFactory(
        { safe: true, mimeTypes: [kind.mime], createRenderer: () => new FrameRenderer(kind, around) },
        0
      );
    }
  }
};
