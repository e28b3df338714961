import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { ConsoleClient } from '../src/api/console.js';
import { pageTransport } from '../src/api/page.js';
import { App } from '../src/components/console/App.js';
import './theme.css';
import '../style/base.css';
import './page.css';

const root = document.getElementById('console');
if (root !== null) {
  const client = new ConsoleClient(pageTransport(new URL('api/v1/', document.baseURI)));
  createRoot(root).render(
    <StrictMode>
      <App client={client} />
    </StrictMode>
  );
}
