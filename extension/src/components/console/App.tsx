import type { JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { Me } from '../../api/types/session.js';
import { Await, Empty } from '../basics.js';
import { Boundary } from '../Boundary.js';
import { useLoad } from '../hooks.js';
import { AccessRequestPage, AccessRequestsPage } from './AccessRequests.js';
import { AuditPage, EntryPage } from './Audit.js';
import { DatasetsPages } from './Datasets.js';
import { ErasuresPage } from './Erasures.js';
import { ExportPage, ExportsPage } from './Exports.js';
import { GrantsPage } from './Grants.js';
import { MachinePage } from './Machine.js';
import { OverviewPage } from './Overview.js';
import { Page } from './Page.js';
import { PolicyPage } from './Policy.js';
import { ReidentificationsPage } from './Reidentifications.js';
import { href, useRoute, type Route } from './route.js';
import { ShreddingsPage } from './Shreddings.js';
import { TimelinesPage } from './Timelines.js';

interface Place {
  readonly page: string;
  readonly title: string;
  readonly open: (me: Me) => boolean;
}

const PLACES: readonly Place[] = [
  { page: '', title: 'Overview', open: () => true },
  { page: 'access', title: 'Access requests', open: me => me.can.approve_access },
  { page: 'grants', title: 'Grants', open: me => me.can.approve_access },
  { page: 'exports', title: 'Exports', open: me => me.can.approve_exports },
  { page: 'datasets', title: 'Datasets', open: () => true },
  { page: 'shreddings', title: 'Shreddings', open: me => me.can.approve_access || me.can.administer },
  { page: 'reidentifications', title: 'Re-identifications', open: () => true },
  { page: 'erasures', title: 'Erasures', open: me => me.can.administer || me.can.audit },
  { page: 'audit', title: 'Audit log', open: () => true },
  { page: 'timelines', title: 'Timelines', open: () => true },
  { page: 'policy', title: 'Policy', open: me => me.can.administer || me.can.audit },
  { page: 'machine', title: 'Machine', open: me => me.can.administer || me.can.audit }
];

/** The stewards', admins' and auditors' console. What it hides, the server refuses as well. */
export function App({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const loaded = useLoad(() => client.me(), 'me');
  const me = loaded.value;
  const route = useRoute();
  return (
    <div className="sr-Console">
      <a className="sr-Skip" href="#main" onClick={focusMain}>
        Skip to the content
      </a>
      <header className="sr-Side">
        <p className="sr-Mark">Strongroom</p>
        {me !== null && (
          <>
            <nav aria-label="Console">
              <ul>
                {PLACES.filter(place => place.open(me)).map(place => (
                  <li key={place.page}>
                    <a href={href(place.page)} aria-current={route.page === place.page ? 'page' : undefined}>
                      {place.title}
                    </a>
                  </li>
                ))}
              </ul>
            </nav>
            <p className="sr-Who">
              <strong>{me.full_name}</strong>
              <span>{me.user}</span>
            </p>
          </>
        )}
      </header>
      <main id="main" tabIndex={-1}>
        <Await loaded={loaded} what="the console">
          {value => (
            <Boundary key={`${route.page}/${route.id ?? ''}`}>
              <Content client={client} me={value} route={route} />
            </Boundary>
          )}
        </Await>
      </main>
    </div>
  );
}

function focusMain(event: { preventDefault: () => void }): void {
  // The hash is the route, so the link must not change it.
  event.preventDefault();
  document.querySelector('main')?.focus();
}

function Content({
  client,
  me,
  route
}: {
  readonly client: ConsoleClient;
  readonly me: Me;
  readonly route: Route;
}): JSX.Element {
  const { page, id } = route;
  const place = PLACES.find(candidate => candidate.page === page);
  if (place?.open(me) !== true) {
    return (
      <Page title="Nothing here">
        <Empty>
          {place === undefined
            ? 'This address names no page of the console.'
            : `“${place.title}” is not among what your roles open. An administrator can give you the role.`}
        </Empty>
      </Page>
    );
  }
  switch (page) {
    case 'access':
      return id === null ? (
        <AccessRequestsPage client={client} me={me} />
      ) : (
        <AccessRequestPage client={client} me={me} id={id} />
      );
    case 'grants':
      return <GrantsPage client={client} />;
    case 'exports':
      return id === null ? <ExportsPage client={client} me={me} /> : <ExportPage client={client} me={me} id={id} />;
    case 'datasets':
      return <DatasetsPages client={client} me={me} id={id} />;
    case 'shreddings':
      return <ShreddingsPage client={client} version={id} />;
    case 'reidentifications':
      return <ReidentificationsPage client={client} />;
    case 'erasures':
      return <ErasuresPage client={client} />;
    case 'audit':
      return id === null ? <AuditPage client={client} /> : <EntryPage client={client} index={Number(id)} />;
    case 'timelines':
      return <TimelinesPage client={client} id={id} />;
    case 'policy':
      return <PolicyPage client={client} me={me} />;
    case 'machine':
      return <MachinePage client={client} />;
    default:
      return <OverviewPage client={client} me={me} />;
  }
}
