/** The value of a cookie, or an empty string when there is none. */
export function cookieValue(cookies: string, wanted: string): string {
  for (const cookie of cookies.split('; ')) {
    const [name, ...value] = cookie.split('=');
    if (name === wanted) {
      return decodeURIComponent(value.join('='));
    }
  }
  return '';
}
