/* Before any library in a frame: what no policy of a server holds is taken away, and data comes in clean. */
(() => {
  'use strict';
  const page = window.parent;
  // Content security policies do not reach WebRTC, which would speak to any host.
  for (const name of Object.getOwnPropertyNames(window)) {
    if (/^(webkit)?RTC/.test(name)) {
      delete window[name];
    }
  }
  // What begins another element than these is text: no link, no frame, nothing that makes the browser look up a host.
  const TAGS = 'table|caption|colgroup|col|thead|tbody|tfoot|tr|th|td|b|strong|i|em|u|s|sub|sup|br|span|small|code|extra';
  const OTHER = new RegExp(`<(?!/?(?:${TAGS})(?=[\\s/>]))`, 'gi');
  const clean = value => {
    if (typeof value === 'string') {
      return value.replace(OTHER, '&lt;');
    }
    if (Array.isArray(value)) {
      return value.map(clean);
    }
    return value !== null && typeof value === 'object'
      ? Object.fromEntries(Object.entries(value).map(([name, part]) => [name, clean(part)]))
      : value;
  };
  window.strongroomFrame = draw => {
    const place = document.getElementById('place');
    const tellHeight = () => {
      page.postMessage({ strongroom: 'height', height: Math.ceil(place.getBoundingClientRect().height) }, '*');
    };
    new ResizeObserver(tellHeight).observe(place);
    window.addEventListener('message', async event => {
      if (event.source !== page || event.data?.strongroom !== 'show') {
        return;
      }
      const { data, dark } = event.data;
      document.documentElement.classList.toggle('dark', dark === true);
      try {
        await draw(place, clean(data));
      } catch {
        place.textContent = 'This output could not be drawn: its library did not take its data.';
      }
      tellHeight();
    });
    page.postMessage({ strongroom: 'ready' }, '*');
  };
})();
