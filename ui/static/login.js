// @ts-check
// Presses the button of a sign-in link, once a person looks at the page: browsers also load pages in
// advance, and those must not use the link up.

const form = /** @type {HTMLFormElement | null} */ (document.getElementById('link'));
const isLink = document.querySelector('main')?.dataset.state === 'link';

function signIn() {
  // @ts-ignore: `prerendering` is not in all browsers.
  if (document.hidden || document.prerendering) return;
  document.removeEventListener('visibilitychange', signIn);
  document.removeEventListener('prerenderingchange', signIn);
  form?.requestSubmit();
}

if (isLink) {
  document.addEventListener('visibilitychange', signIn);
  document.addEventListener('prerenderingchange', signIn);
  signIn();
}
